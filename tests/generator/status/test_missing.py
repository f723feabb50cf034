"""`status` tells of every model that is wanted, and of a run that was cut off."""

import json
from typing import Any

import pytest
from llmhop_generator.apply.routes import restore_routes
from llmhop_generator.apply.run import apply, put_files
from llmhop_generator.contract.options import Config
from llmhop_generator.parse.load import parse_config
from llmhop_generator.status.report import as_rows, remarks, status

from tests.generator.conftest import MINIMAL
from tests.generator.support.simulated_host import UID, SimulatedHost
from tests.generator.support.simulation import killed

A, B = "vllm-a.service", "vllm-b.service"
CUT_OFF = "The last apply was cut off before its end, "


def configuration(*, router: bool = True, **settings: Any) -> Config:
    models = {
        name: {"model": "m", "port": 18001 + number, "settings": settings}
        for number, name in enumerate("ab")
    }
    vllm = {**MINIMAL["vllm"], "openFilesLimit": 64, "models": models}
    config = {**MINIMAL, "llmhop": {"enable": router}, "vllm": vllm}
    return parse_config(json.dumps(config).encode(), "config.json")


def bring(*, router: bool = True, **settings: Any) -> list[str]:
    told: list[str] = []
    apply(configuration(router=router, **settings), told.append, lambda _: None, wait=True)
    return told


@pytest.mark.parametrize("is_up", [True, False])
@pytest.mark.parametrize("gone", [(A,), (A, B)])
def test_a_wanted_model_has_a_line_whatever_became_of_its_unit(
    gone: tuple[str, ...], is_up: bool, simulated: SimulatedHost
) -> None:
    bring()
    for service in gone:
        simulated.edit(service, None)
        simulated.stop(service)
        note = simulated.runtime_dir(UID) / f"{service.removesuffix('.service')}.started"
        note.unlink()  # as at a boot
    simulated.reload()
    simulated.down = set() if is_up else {f"user@{UID}.service"}
    _, *rows = as_rows(status())
    assert [(row[0], row[1]) for row in rows] == [
        ("a", "stopped"),
        ("b", "healthy" if is_up and B not in gone else "stopped"),
    ]
    if is_up:
        assert [model.port for model in status().models] == [18001, 18002]
        assert any(line.startswith("a: its unit file is not what") for line in remarks(status()))


def test_a_model_that_is_wanted_no_more_has_none(simulated: SimulatedHost) -> None:
    bring()
    config = {**MINIMAL, "vllm": {"enable": False}}
    settings = {"models": {"far": {"url": "http://192.0.2.1:1"}}}
    config["llmhop"] = {"enable": True, "settings": settings}
    apply(parse_config(json.dumps(config).encode(), "c"), print, print, wait=True)
    assert status().models == ()


@pytest.mark.parametrize("router", [True, False])
@pytest.mark.parametrize("effect", ["stop", "swap", "daemon-reload", "start", "sleep"])
def test_a_run_that_was_killed_is_told_until_one_ends(
    effect: str, router: bool, simulated: SimulatedHost
) -> None:
    bring(router=router)
    assert not status().cut_off
    with killed(simulated, lambda name: name == effect):
        bring(router=router, seed=1)
    assert status().cut_off
    assert remarks(status())[0].startswith(CUT_OFF)
    simulated.settle()
    assert status().cut_off  # also when every model that it stopped is up
    bring(router=router, seed=1)
    assert not status().cut_off
    assert CUT_OFF not in "\n".join(remarks(status()))


def test_a_run_that_was_killed_before_it_changed_anything_is_not_told(
    simulated: SimulatedHost,
) -> None:
    bring()
    with killed(simulated, lambda name: name == "stage"):
        bring(seed=1)
    assert not status().cut_off


def test_files_put_in_place_at_a_boot_are_no_run_that_was_cut_off(
    simulated: SimulatedHost,
) -> None:
    bring()
    simulated.down = {f"user@{UID}.service"}
    changed = configuration(seed=1)
    with killed(simulated, lambda name: name == "swap"):
        put_files(changed, print)
    assert status().cut_off
    put_files(changed, print)
    assert not status().cut_off


def test_a_run_that_was_killed_without_llmhop_leaves_a_boot_no_routes(
    simulated: SimulatedHost,
) -> None:
    bring()
    config = simulated.router_config.read_text()
    with killed(simulated, lambda name: name == "swap"):
        bring(router=False, seed=1)
    told: list[str] = []
    simulated.router_config.write_text(config)
    restore_routes(told.append)
    assert told == ["nothing to do"]
    assert status().cut_off  # until a run comes to its end


def test_a_run_that_fails_has_told_of_it_itself(simulated: SimulatedHost) -> None:
    bring()
    simulated.stops_fail = True
    with pytest.raises(Exception, match="failed"):
        bring(seed=1)
    assert not status().cut_off


def test_no_cause_is_guessed_for_a_model_without_a_route(simulated: SimulatedHost) -> None:
    bring()
    other = simulated.on_disk()[B].replace("18002", "18003").replace("vllm-b", "vllm-c")
    simulated.edit("vllm-c.service", other)
    simulated.reload()
    simulated.restart("vllm-c.service")
    simulated.settle()
    [told] = [line for line in remarks(status()) if "no route" in line]
    assert told.startswith("c: llmhop has no route to it; apply again")
    assert "ended" not in told
