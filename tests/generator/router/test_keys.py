"""What the generator states of llmhop's settings again is what llmhop says of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from llmhop.config.config import CONFIG
from llmhop_generator.contract.schema import contract_schema
from llmhop_generator.layout import HOST
from llmhop_generator.router.routes import ADDRESS_KEYS, restart_keys
from llmhop_generator.router.settings import ROUTES

from tests.generator.support.faults import SCHEMA
from tests.router.support.corpus.full_config import ALTERNATIVES, FULL

DEFINITIONS = contract_schema()["$defs"]
STATED: dict[tuple[str, ...], Any] = {
    (*above, key): schema
    for above, name in (((), "RouterSettings"), (("models",), "Upstream"))
    for key, schema in DEFINITIONS[name]["properties"].items()
}
"""The keys that the contract names; the others pass through."""

VALUES = FULL | {key: value for key, (_, value) in ALTERNATIVES.items()}
_BOUNDS = ("minimum", "maximum", "pattern")


def of_llmhop(path: tuple[str, ...]) -> dict[str, Any]:
    """What llmhop's own schema says of a key."""
    *above, key = path
    table: dict[str, Any] = SCHEMA
    for name in above:
        table = table["properties"][name]["additionalProperties"]
    found: dict[str, Any] = table["properties"][key]
    return found


def shapes(schema: dict[str, Any]) -> Iterator[str]:
    """The types that a schema takes, but for null: an object of another definition is one."""
    for one in schema.get("anyOf") or schema.get("oneOf") or []:
        yield from shapes(one)
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind == "array":
            yield from (f"list of {each}" for each in shapes(schema["items"]))
        elif kind != "null":
            yield kind


def bounds(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The bounds of a value, where there are any."""
    for one in schema.get("anyOf", [schema]):
        for bound in {*_BOUNDS} & one.keys():
            yield bound, re.sub(r"[()]", "", one[bound]) if bound == "pattern" else one[bound]


@pytest.mark.parametrize("path", STATED, ids=".".join)
def test_a_key_that_the_contract_names_is_llmhops_with_its_type(path: tuple[str, ...]) -> None:
    stated, known = STATED[path], of_llmhop(path)
    assert set(shapes(stated)) == set(shapes(known))
    assert set(bounds(stated)) <= set(bounds(known))


def test_the_routes_of_a_model_are_llmhops_keys() -> None:
    alternatives = SCHEMA["properties"]["models"]["additionalProperties"]["oneOf"]
    assert {*ROUTES} == {key for each in alternatives for key in each["required"]}


def test_defaults_of_the_listener_are_llmhops() -> None:
    listen = HOST["listen"]
    for key, stated in (("host", "host"), ("port", "port"), ("socketMode", "socket_mode")):
        assert listen[stated] == of_llmhop((key,))["default"]


@pytest.mark.parametrize("key", sorted(VALUES))
def test_llmhop_is_restarted_for_what_it_takes_at_a_start_alone(key: str) -> None:
    waits = CONFIG.settings[key].at_start != "no"
    before, after = json.dumps({}), json.dumps({key: VALUES[key]})
    assert restart_keys(before, after) == ([key] if waits else [])


def test_what_systemd_follows_is_a_key_of_the_listeners() -> None:
    assert {"listen", "host", "port", "socketMode"} == ADDRESS_KEYS
    assert SCHEMA["properties"].keys() >= ADDRESS_KEYS
