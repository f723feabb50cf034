"""Models that run on without any unit on the disk: stopped where nobody asks for them."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from llmhop_generator.apply import run as apply
from llmhop_generator.apply.fast_path import is_up_to_date, remember
from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.parse.load import parse_config
from llmhop_generator.planning.plan_text import lines
from llmhop_generator.state.present import read_started
from llmhop_generator.status import report
from llmhop_generator.status.model_journal import journal_of, model_names
from llmhop_generator.status.report import status

from tests.generator.conftest import MINIMAL
from tests.generator.support.simulated_host import UID, SimulatedHost

A, B = "vllm-a.service", "vllm-b.service"
MODELS = {name: {"model": "m", "port": 18001 + i} for i, name in enumerate("ab")}
ON = {**MINIMAL, "vllm": {**MINIMAL["vllm"], "openFilesLimit": 64, "models": MODELS}}
FAR = {"settings": {"models": {"far": {"url": "http://192.0.2.1:1"}}}}
ONE = {**ON, "vllm": {**ON["vllm"], "models": {"a": MODELS["a"]}}}
OFF = {"version": 1, "llmhop": {"enable": True, **FAR}, "vllm": {"enable": False}}


def as_json(config: Any) -> bytes:
    return json.dumps(config).encode()


def bring(config: Any) -> apply.Applied:
    return apply.apply(parse_config(as_json(config), "config.json"), print, print, wait=True)


def planned(config: Any) -> list[tuple[str, str, str]]:
    return lines(apply.plan_for(parse_config(as_json(config), "config.json")))


@pytest.mark.parametrize("is_reloaded", [False, True])
@pytest.mark.parametrize(
    "remove",
    [
        lambda host: [path.unlink() for path in host.quadlet_dir(UID).iterdir()],
        lambda host: shutil.rmtree(host.quadlet_dir(UID)),
        lambda host: shutil.rmtree(host.quadlet_dir(UID).parent),
    ],
    ids=["their units are gone", "the directory of them is", "the directory of their user is"],
)
def test_models_all_of_whose_units_are_gone_are_stopped(
    remove: Callable[[SimulatedHost], Any], is_reloaded: bool, simulated: SimulatedHost
) -> None:
    bring(ON)
    remove(simulated)
    if is_reloaded:
        simulated.quadlet_dir(UID).mkdir(parents=True, exist_ok=True)
        simulated.reload()
    assert {model.unit for model in status().models} == {A, B}
    assert [(what, name) for what, name, _ in planned(OFF) if what != "route"] == [
        ("stop", B),
        ("stop", A),
        ("reload", f"user@{UID}.service"),
    ]
    bring(OFF)
    assert {simulated.unit(service).state for service in (A, B)} == {"inactive"}
    assert planned(OFF) == []
    assert status().models == ()


def test_where_they_are_asked_for_they_are_made_anew(simulated: SimulatedHost) -> None:
    bring(ON)
    shutil.rmtree(simulated.quadlet_dir(UID).parent)
    bring(ON)
    assert {simulated.unit(service).state for service in (A, B)} == {"active"}
    assert planned(ON) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"uid": "503"}', '{"uid": null}'])
def test_where_nothing_tells_of_their_user_none_is_asked(
    text: str, simulated: SimulatedHost
) -> None:
    bring(ON)
    shutil.rmtree(simulated.quadlet_dir(UID).parent)
    (simulated.router_config.parent / "wanted.json").write_text(text)
    assert status().models == ()
    assert {what for what, *_ in planned(OFF)} == {"route"}


@pytest.mark.parametrize("state", ["start-pre", "starting", "active", "auto-restart", "failed"])
def test_a_run_has_something_to_do_where_a_plan_has(state: str, simulated: SimulatedHost) -> None:
    bring(ON)
    remember(as_json(ONE), bring(ONE).wanted)
    assert is_up_to_date(as_json(ONE))
    simulated.unit(B).state = state
    assert planned(ONE)[0][:2] == ("stop", B)
    assert not is_up_to_date(as_json(ONE))


@pytest.mark.parametrize("config", [OFF, ONE], ids=["no model is wanted", "another one is"])
def test_a_model_that_somebody_starts_while_it_is_removed_is_work_for_the_next_run(
    config: Any, simulated: SimulatedHost
) -> None:
    bring(ON)

    def restart(effect: str) -> None:
        if effect == "daemon-reload":
            simulated.restart(B)
            simulated.settle()

    simulated.interrupt = restart
    done = bring(config)
    simulated.interrupt = lambda _: None
    remember(as_json(config), done.wanted)
    assert B in {model.unit for model in status().models}
    assert not is_up_to_date(as_json(config))
    remember(as_json(config), bring(config).wanted)
    assert simulated.unit(B).state == "inactive"
    assert is_up_to_date(as_json(config))


def test_a_model_that_started_while_its_file_was_gone_is_an_orphan(
    simulated: SimulatedHost,
) -> None:
    bring(ON)
    source = simulated.quadlet_dir(UID) / "vllm-b.container"
    simulated.edit(B, None)
    simulated.restart(B)
    simulated.settle()
    # As the service that systemd starts is the one of the start before, that tells.
    assert B in {model.unit for model in status().models if model.edited_unit}
    assert ("stop", B, "removed") in planned(ONE)
    assert [what for what, target, _ in planned(ON) if target == B] == []
    simulated.unit(B).noted = None
    simulated.restart(B)
    simulated.settle()
    assert B in {model.unit for model in status().models if model.earlier_unit}
    assert ("stop", B, "removed") in planned(ONE)
    assert ("stop", B, "nothing tells by which unit it runs") in planned(ON)
    assert journal_of("b", lines=1, follow=False)[-1] == f"_SYSTEMD_USER_UNIT={B}"
    assert model_names() == ["a", "b"]
    # Where somebody else has put a source in its place since, it may be theirs.
    source.write_text("[Container]\nImage=theirs\n")
    assert read_started(UID).keys() == {"vllm-a.container"}
    with pytest.raises(GeneratorError, match=r"^'b' is no model of this host; there is a$"):
        journal_of("b", lines=1, follow=False)


@pytest.mark.parametrize("has_models", [False, True])
def test_a_boot_gives_no_routes_back_where_no_model_is_left(
    has_models: bool, simulated: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*, has_models: bool) -> list[Finding]:
        return [Finding("models", str(has_models))]

    bring(ON)
    bring(ONE if has_models else OFF)
    monkeypatch.setattr(report, "_boot", lambda _: ())
    monkeypatch.setattr(report, "router_boot_findings", told)
    assert status().boot == (Finding("models", str(has_models)),)


def test_a_unit_of_somebody_elses_that_leaves_a_note_is_no_orphan(
    simulated: SimulatedHost,
) -> None:
    """Whether or not its source was changed after it was read, by the times in the note."""
    bring(ON)
    text = (simulated.quadlet_dir(UID) / "vllm-a.container").read_text().partition("\n")[2]
    for changed in (1, 2):
        said = f"{changed}.{0:09}\n1.{0:09}\n{0:064x}\n{1:032x}\n"
        (simulated.runtime_dir(UID) / "vllm-mine.started").write_text(f"{text}\n{said}")
        assert read_started(UID).keys() == {"vllm-a.container", "vllm-b.container"}
