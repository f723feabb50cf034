"""Units that models name in unitConfig: their form, ties between models, and orders in a circle."""

import json
from typing import Any

import pytest
from llmhop_generator.contract.unit_keys import TYING, UNIT_LISTS, is_unit_name
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config

from tests.generator.conftest import MINIMAL

GENERAL = "services.llmhop.vllm.unitConfig"
OF_A, OF_B = (f"services.llmhop.vllm.models.{name}.unitConfig" for name in "ab")


def findings(
    a: dict[str, Any] | None = None,
    b: dict[str, Any] | None = None,
    general: dict[str, Any] | None = None,
    **options: Any,
) -> list[str]:
    """What is found of two models, a before b in the start order."""
    models = {
        "a": {"model": "m", "port": 18001, "unitConfig": a or {}},
        "b": {"model": "m", "port": 18002, "unitConfig": b or {}},
    }
    vllm = {**MINIMAL["vllm"], "models": models, "unitConfig": general or {}, **options}
    try:
        parse_config(json.dumps({**MINIMAL, "vllm": vllm}).encode(), "config.json")
    except GeneratorError as error:
        return [str(problem) for problem in error.findings]
    return []


NAMES = [
    *("a.service", "a@b.service", "dev-nvidia0.device", "network-online.target", "-.mount"),
    *("%N-x.service", "a@%i.service", "x\\x2dy.mount", "models.network", "vllm-b.container"),
]
NO_NAMES = ["x", "x.y", "a@.service", "@b.service", ".service", "a b.service", "a/b.service"]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_unit_is_taken(name: str) -> None:
    assert is_unit_name(name)
    assert findings(a={"Wants": name}) == []


@pytest.mark.parametrize("name", [*NO_NAMES, "a" * 248 + ".service"])
def test_what_is_no_name_of_a_unit_is_not(name: str) -> None:
    assert not is_unit_name(name)


@pytest.mark.parametrize("key", UNIT_LISTS)
def test_what_systemd_would_only_log_is_refused(key: str) -> None:
    (found,) = findings(a={key: ["a.service", '"b.service" x']})
    assert found.startswith(f'{OF_A}.{key}: has "x", which is no name of a unit'), found
    (found,) = findings(general={key: "x"})
    assert found.startswith(f'{GENERAL}.{key}: has "x"'), found


def test_a_key_that_takes_no_units_is_not_looked_at() -> None:
    assert findings(a={"Description": "after x", "Documentation": "x"}) == []


CIRCLES: list[tuple[dict[str, Any], str]] = [
    ({"a": {"After": "vllm-b.service"}}, OF_A),
    ({"a": {"After": "vllm-b.container"}}, OF_A),
    ({"b": {"Before": "vllm-a.service"}}, OF_B),
    ({"b": {"After": "default.target"}}, OF_B),
    ({"b": {"After": ["x.service", "llmhop-models.target"]}}, OF_B),
    ({"b": {"Before": "sockets.target"}}, OF_B),
    ({"b": {"Before": "basic.target"}}, OF_B),
    ({"b": {"After": "shutdown.target"}}, OF_B),
    ({"general": {"After": "vllm-b.service"}}, GENERAL),
    ({"general": {"After": "default.target"}}, GENERAL),
]


@pytest.mark.parametrize(("keys", "where"), CIRCLES, ids=str)
def test_an_order_in_a_circle_is_refused(keys: dict[str, Any], where: str) -> None:
    found = set(findings(**keys))
    assert found
    for each in found:
        assert each.startswith(f"{where}."), found
        assert "already waits for it or starts before it" in each


def test_every_name_that_makes_a_circle_is_told() -> None:
    """By way of a unit that is somebody else's, and of both models."""
    found = findings(a={"After": "x.service"}, b={"Before": ["y.service", "x.service"]})
    assert [each.partition(": ")[0] for each in found] == [
        f"{OF_A}.After",
        f"{OF_B}.Before",
    ]


STRAIGHT: list[dict[str, Any]] = [
    {"b": {"After": "vllm-a.service"}},
    {"a": {"Before": ["vllm-b.service", "default.target", "llmhop-models.target"]}},
    {"a": {"After": "vllm-b.service"}, "startupOrdering": False},
    {"a": {"After": ["basic.target", "sockets.target"], "Before": "shutdown.target"}},
    # systemd leaves a unit's order after itself out.
    {"general": {"After": "vllm-a.service"}},
    {"a": {"DefaultDependencies": False, "Before": "basic.target"}, "startupOrdering": False},
    {"a": {"After": "x.service"}, "b": {"After": "x.service"}},
]


@pytest.mark.parametrize("keys", STRAIGHT, ids=str)
def test_an_order_that_can_be_kept_is_taken(keys: dict[str, Any]) -> None:
    assert findings(**keys) == []


def test_a_disabled_model_is_in_no_circle() -> None:
    models = {
        "a": {"model": "m", "port": 18001, "unitConfig": {"After": "vllm-b.service"}},
        "b": {"model": "m", "port": 18002, "enable": False},
    }
    assert findings(models=models) == []


@pytest.mark.parametrize("key", TYING)
def test_models_are_not_tied_to_one_another(key: str) -> None:
    (found,) = findings(b={key: "vllm-a.service"})
    assert found.startswith(f"{OF_B}.{key}: ties this model to vllm-a.service, another model")
    assert findings(b={key: "vllm-c.service"}) == []


def test_all_of_it_is_told_at_once() -> None:
    keys = {"After": ["vllm-b.service", "x"], "Requires": "vllm-b.service"}
    assert [each.partition(": ")[0] for each in findings(a=keys)] == [
        *(f"{OF_A}.After", f"{OF_A}.After", f"{OF_A}.Requires"),
    ]
