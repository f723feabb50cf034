"""Where llmhop's routes lead after runs of `apply` that nobody waited for, failed or were killed.

The faults that `test_apply_model.py` found, one by one, on the same simulated host.
"""

import json
from typing import Any

import pytest
from llmhop_generator.apply.run import Applied, apply
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config
from llmhop_generator.status.report import ModelStatus, remarks, status

from tests.generator.conftest import MINIMAL
from tests.generator.support.simulated_host import REFUSED, SimulatedHost
from tests.generator.support.simulation import killed

A, B = "vllm-a.service", "vllm-b.service"
FAR = {"far": {"url": "http://192.0.2.1:1"}}


@pytest.fixture
def host(simulated: SimulatedHost) -> SimulatedHost:
    return simulated


def bring(
    served: dict[str, dict[str, Any]], *, wait: bool = True, **settings: Any
) -> tuple[Applied, list[str]]:
    """Apply a configuration of some models; give what came of it and what was told."""
    models = {name: {"model": "m", **model} for name, model in served.items()}
    config = {
        **MINIMAL,
        "llmhop": {"settings": {"models": FAR, **settings}},
        "vllm": {**MINIMAL["vllm"], "openFilesLimit": 64, "models": models},
    }
    told: list[str] = []
    read = parse_config(json.dumps(config).encode(), "config.json")
    return apply(read, told.append, lambda _: None, wait=wait), told


def local_routes(host: SimulatedHost) -> dict[str, int]:
    return {name: port for name, port in host.routes().items() if name != "far"}


def shown(model: str) -> ModelStatus:
    return next(each for each in status().models if each.model == model)


ONE = {"a": {"port": 18001}}
BROKEN = {"settings": {"broken": "x"}}


def test_a_new_model_that_nobody_waits_for_is_routed_before_it_starts(host: SimulatedHost) -> None:
    bring(ONE)
    _, told = bring({**ONE, "b": {"port": 18002}}, wait=False)
    assert told.index("route llmhop: with b") < told.index(f"start {B}")
    assert local_routes(host) == {"a": 18001, "b": 18002}


@pytest.mark.parametrize("elsewhere", [FAR, {}])
def test_a_model_that_moves_and_nobody_waits_for_is_routed_to_its_new_port(
    host: SimulatedHost, elsewhere: dict[str, Any]
) -> None:
    bring(ONE, models=elsewhere)
    bring({"a": {"port": 18009}}, wait=False, models=elsewhere)
    host.settle()
    assert local_routes(host) == {"a": host.unit(A).port} == {"a": 18009}


def test_a_model_that_moves_gets_its_route_at_its_new_port_at_once(host: SimulatedHost) -> None:
    bring(ONE)
    _, told = bring({"a": {"port": 18009}})
    assert [line for line in told if line.startswith("route")] == ["route llmhop: without a"]
    assert local_routes(host) == {"a": 18009}


def test_a_model_that_failed_at_first_has_its_route_when_it_is_mended(host: SimulatedHost) -> None:
    bring(ONE)
    host.ailing = {B}
    done, _ = bring({**ONE, "b": {"port": 18002}})
    assert done.failed == (B,)
    host.ailing = set()
    host.restart(B)
    host.settle()
    assert host.unit(B).state == "active"
    assert local_routes(host) == {"a": 18001, "b": 18002}


def test_a_stop_that_fails_leaves_the_route_where_the_model_is(host: SimulatedHost) -> None:
    bring(ONE)
    host.stops_fail = True
    with pytest.raises(GeneratorError):
        bring({"a": {"port": 18009}})
    assert local_routes(host) == {"a": 18001}
    host.restart(A)
    host.settle()
    assert local_routes(host) == {"a": host.unit(A).port}


@pytest.mark.parametrize("again", ["a restart by hand", "a crash", "a boot"])
def test_a_model_that_was_left_as_it_was_comes_back_as_it_was(
    host: SimulatedHost, again: str
) -> None:
    bring({**ONE, "b": {"port": 18002}})
    done, _ = bring({"a": {"port": 18001, **BROKEN}, "b": {"port": 18009}})
    assert (done.failed, done.left) == ((A,), (B,))
    for _ in range(2):
        assert local_routes(host) == {"a": 18001, "b": 18002}
        assert (shown("b").port, shown("b").earlier_unit) == (18002, True)
        assert not shown("a").earlier_unit
        assert "b: it runs by another unit than" in "\n".join(remarks(status()))
        {"a restart by hand": host.restart, "a crash": host.crash}.get(
            again, lambda _: host.reboot()
        )(B)
        host.settle()
        assert host.unit(B).state == "active"


def test_a_run_killed_before_the_reload_of_llmhop_is_followed_by_one(host: SimulatedHost) -> None:
    bring(ONE)

    with killed(host, lambda effect: effect == "reload-or-restart"):
        bring(ONE, maxBodyBytes=5)
    assert host.router is not None
    assert "maxBodyBytes" not in host.router
    bring(ONE, maxBodyBytes=5)
    assert host.router["maxBodyBytes"] == 5


def test_what_llmhop_refuses_after_a_kill_is_not_left_for_its_next_start(
    host: SimulatedHost,
) -> None:
    bring(ONE)
    before = host.router_config.read_text()

    with killed(host, lambda _: host.router_config.read_text() != before):
        bring(ONE, maxHeaderBytes=REFUSED)
    for _ in range(2):
        with pytest.raises(GeneratorError, match="llmhop does not take its new configuration"):
            bring(ONE, maxHeaderBytes=REFUSED)
        assert host.router_config.read_text() == before


def test_a_model_that_is_about_to_start_is_known_by_the_unit_that_it_starts_by(
    host: SimulatedHost,
) -> None:
    moved = {"a": {"port": 18009}}
    bring(ONE)
    bring(moved, wait=False)
    host.tick()
    assert host.unit(A).state == "start-pre"  # what lies there is the note of the start before
    assert shown("a").port == 18009
    _, told = bring(moved, wait=False)
    assert told == ["nothing to do"]
    assert local_routes(host) == {"a": 18009}


def test_a_model_that_somebody_starts_before_its_unit_is_swapped_is_routed_to_where_it_is(
    host: SimulatedHost,
) -> None:
    bring(ONE)

    def restart(effect: str) -> None:
        if effect == "swap":
            host.restart(A)
            host.settle()

    host.interrupt = restart
    _, told = bring({"a": {"port": 18009}})
    assert [line for line in told if line.startswith("route")] == ["route llmhop: without a"]
    assert local_routes(host) == {"a": host.unit(A).port} == {"a": 18001}
    assert shown("a").earlier_unit
    host.interrupt = lambda _: None
    bring({"a": {"port": 18009}})
    assert local_routes(host) == {"a": host.unit(A).port} == {"a": 18009}


def test_llmhop_gets_the_socket_that_could_not_start_before_it(host: SimulatedHost) -> None:
    bring(ONE)
    host.lacks_socket = True
    bring(ONE)
    assert not host.lacks_socket


def test_a_killed_change_of_what_llmhop_takes_at_its_start_is_followed_by_a_restart(
    host: SimulatedHost,
) -> None:
    """It may have been restarted by the new settings, or not: no file can tell."""
    bring(ONE, workers=2)

    with killed(host, lambda effect: effect == "remove"):  # right after the restart
        bring(ONE)
    assert host.router is not None
    assert "workers" not in host.router
    bring(ONE, workers=2)
    assert host.router["workers"] == 2


def test_a_run_that_a_reboot_ends_leaves_each_model_its_route(host: SimulatedHost) -> None:
    bring(ONE)

    def go_down(effect: str) -> None:
        if effect == "start":
            host.goes_down = True
            raise SystemExit

    host.interrupt = go_down
    with pytest.raises(SystemExit):
        bring({**ONE, "b": {"port": 18002}, "a": {"port": 18009}})
    host.interrupt = lambda _: None
    host.goes_down = False
    host.reboot()
    host.settle()
    assert local_routes(host) == {"a": 18009, "b": 18002}


def test_the_status_names_a_model_whose_route_a_killed_run_has_taken(host: SimulatedHost) -> None:
    bring(ONE)
    assert not shown("a").unrouted

    with killed(host, lambda effect: effect == "sleep"):  # while it waits for the model
        bring({"a": {"port": 18001, "settings": {"seed": 1}}})
    host.settle()
    assert shown("a").unrouted
    assert "a: llmhop has no route to it" in "\n".join(remarks(status()))
    bring({"a": {"port": 18001, "settings": {"seed": 1}}})
    assert not shown("a").unrouted
