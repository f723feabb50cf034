"""A run that a power cut ends anywhere: the boot after it gives llmhop every route."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from llmhop_generator.apply import run as apply
from llmhop_generator.apply.fast_path import is_up_to_date, remember
from llmhop_generator.apply.routes import restore_routes
from llmhop_generator.parse.load import parse_config
from llmhop_generator.preflight.notes import host_notes
from llmhop_generator.state.unfinished_routes import CUT_OFF
from llmhop_generator.status.report import remarks, status

from tests.generator.conftest import MINIMAL
from tests.generator.support.simulated_host import REFUSED, SimulatedHost
from tests.generator.support.simulated_unit import port_in
from tests.generator.support.simulation import killed

AHEAD: list[str] = []
FIRST = {"a": {"port": 18001}, "b": {"port": 18002}, "c": {"port": 18003}}
CHANGED = {name: {**model, "settings": {"seed": 1}} for name, model in FIRST.items()}
THEN: dict[str, tuple[dict[str, Any], bool]] = {
    "all are changed": (CHANGED, True),
    "nobody waits": (CHANGED, False),
    "ports move and one is new": (
        {"a": {"port": 18009}, "b": {"port": 18001}, "c": {"port": 18003}, "d": {"port": 18004}},
        True,
    ),
    "one fails": ({**CHANGED, "a": {"port": 18001, "settings": {"broken": "x"}}}, True),
    "there is one alone": ({"a": {"port": 18009}}, False),
}


def config(models: dict[str, Any], **settings: Any) -> dict[str, Any]:
    served = {name: {"model": "m", **model} for name, model in models.items()}
    return {
        **MINIMAL,
        "vllm": {**MINIMAL["vllm"], "openFilesLimit": 64, "models": served},
        "llmhop": {"settings": settings},
    }


def as_json(config: dict[str, Any]) -> bytes:
    return json.dumps(config).encode()


def bring(models: dict[str, Any], *, wait: bool = True, **settings: Any) -> apply.Applied:
    parsed = parse_config(as_json(config(models, **settings)), "config.json")
    return apply.apply(parsed, AHEAD.append, AHEAD.append, wait=wait)


def boot(host: SimulatedHost) -> list[str]:
    """Boot a host that is not NixOS: the service of routes runs before llmhop's."""
    told: list[str] = []
    host.router = None
    restore_routes(told.append)
    host.reboot()
    host.settle()
    return told


def kept(host: SimulatedHost) -> bool:
    return (host.router_config.parent / "unfinished.json").exists()


def nth(number: int) -> Callable[[str], bool]:
    """Say so before one of the effects, by its number."""
    left = number

    def before(_: str) -> bool:
        nonlocal left
        left -= 1
        return left < 0

    return before


# All numbers up to 75 pass; these are every fifth, as each takes a third of a second.
@pytest.mark.parametrize(
    ("name", "number"), [(n, at) for i, n in enumerate(THEN, 1) for at in range(i % 5, 75, 5)]
)
def test_wherever_a_run_is_cut_off_the_boot_after_it_routes_to_every_model(
    name: str, number: int, host: SimulatedHost
) -> None:
    models, wait = THEN[name]
    bring(FIRST)
    try:
        with killed(host, nth(number)):
            bring(models, wait=wait)
    except pytest.fail.Exception:
        return  # it had fewer effects
    assert host.router is not None
    begun = kept(host)
    boot(host)
    assert status().cut_off is kept(host) is begun
    listening = {s[5:-8]: port_in(text) for s, text in host.on_disk().items()}
    routes = host.routes()
    assert {model: routes[model] for model in listening if model in models} == {
        model: port for model, port in listening.items() if model in models
    }
    assert routes.keys() in (models.keys(), FIRST.keys())
    bring(models)
    assert not kept(host)
    assert host.routes().keys() == models.keys()


@pytest.fixture
def host(simulated: SimulatedHost) -> SimulatedHost:
    return simulated


def test_after_a_whole_run_nothing_is_left_to_do(host: SimulatedHost) -> None:
    bring(FIRST)
    assert not kept(host)
    before = host.router_config.read_text()
    assert boot(host) == ["nothing to do"]
    assert host.router_config.read_text() == before


def test_what_llmhop_refused_is_not_given_back(host: SimulatedHost) -> None:
    bring(FIRST)
    with pytest.raises(Exception, match="llmhop does not take"):
        bring(FIRST, maxHeaderBytes=REFUSED)
    before = host.router_config.read_text()
    boot(host)
    assert host.router_config.read_text() == before
    assert host.router is not None


def test_a_first_configuration_that_llmhop_refused_leaves_nothing_to_do(
    host: SimulatedHost,
) -> None:
    with pytest.raises(Exception, match="llmhop does not take"):
        bring(FIRST, maxHeaderBytes=REFUSED)
    assert not kept(host)
    assert boot(host) == ["nothing to do"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"given": []}'])
def test_what_is_damaged_is_passed_over(text: str, host: SimulatedHost) -> None:
    bring(FIRST)
    (host.router_config.parent / "unfinished.json").write_text(text)
    assert boot(host) == ["nothing to do"]
    assert host.routes().keys() == FIRST.keys()


def test_a_boot_says_which_routes_it_gives_back(host: SimulatedHost) -> None:
    bring(FIRST)
    with killed(host, lambda effect: effect == "start"):
        bring(CHANGED)
    assert host.routes().keys() < FIRST.keys()
    assert boot(host) == ["route llmhop: with a"]
    assert boot(host) == ["nothing to do"]
    assert (host.router_config.stat().st_mode & 0o777) == 0o640


def test_that_a_run_was_cut_off_is_told_until_one_has_come_to_its_end(host: SimulatedHost) -> None:
    as_it_was = config(FIRST)
    done = bring(FIRST)
    remember(as_json(as_it_was), done.wanted)
    with killed(host, lambda effect: effect == "stop"):
        bring(CHANGED)
    for _ in range(2):
        boot(host)
        assert CUT_OFF in remarks(status())
        assert CUT_OFF in host_notes(parse_config(as_json(as_it_was), "config.json"))
    with pytest.raises(Exception, match="llmhop does not take"):
        bring(FIRST, maxHeaderBytes=REFUSED)
    assert status().cut_off
    # Also where the host is again as that configuration had left it.
    assert not is_up_to_date(as_json(as_it_was))
    bring(FIRST)
    assert not status().cut_off
    assert is_up_to_date(as_json(as_it_was))
