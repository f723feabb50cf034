"""Settings of llmhop that are wrong, a kind for each thing that its schema says of a key."""

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "router/config.schema.json").read_text(encoding="utf-8")
)
URL = "http://127.0.0.1:8000"
REMOTE = "far.away"
"""The model that runs elsewhere; its name is quoted in an option path."""


class Fault(NamedTuple):
    """A wrong value, and the keys that lead to it in the settings."""

    path: tuple[str, ...]
    value: Any

    @property
    def name(self) -> str:
        return f"{'.'.join(self.path)} = {json.dumps(self.value)[:60]}"


def settings_with(*faults: Fault) -> dict[str, Any]:
    """Good settings, but for some faults."""
    settings: dict[str, Any] = {"models": {REMOTE: {"url": URL}}}
    if any(fault.path[0] == "tls" and len(fault.path) > 1 for fault in faults):
        settings["tls"] = {"certificate": "cert.pem", "key": "key.pem"}
    for fault in faults:
        place = settings
        for key in fault.path[:-1]:
            place = place.setdefault(key, {})
        place[fault.path[-1]] = fault.value
        if fault.path[-1] == "urls":
            del place["url"]
    return settings


def _values(schema: dict[str, Any]) -> Iterator[Any]:
    """Values of every type, at and beyond every bound that a schema names."""
    yield from ("two", "", "a\nb", 3, 0.5, True, [], [1], ["", ""], {}, {"x": 1}, {"a b": ""})
    for key, step in (("minimum", -1), ("maximum", 1)):
        if key in schema:
            yield schema[key] + step
    for key in ("exclusiveMinimum", "exclusiveMaximum"):
        if key in schema:
            yield schema[key]
    if "maxItems" in schema:
        yield [f"http://h{number}" for number in range(schema["maxItems"] + 1)]
    for example in schema.get("examples", ()):
        yield [example, example]
    yield from ([example] * 2 for example in schema.get("items", {}).get("examples", ()))


def _faults(path: tuple[str, ...], schema: dict[str, Any]) -> list[Fault]:
    validator = Draft202012Validator(schema)
    values = [value for value in _values(schema) if not validator.is_valid(value)]
    return [Fault(path, value) for value in values]


def _places() -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every key of the settings, with its schema."""
    top = SCHEMA["properties"]
    yield from (((key,), schema) for key, schema in top.items() if key != "models")
    yield from ((("tls", key), schema) for key, schema in top["tls"]["properties"].items())
    of_model = top["models"]["additionalProperties"]["properties"]
    yield from ((("models", REMOTE, key), schema) for key, schema in of_model.items())


OF_KEYS = {path: _faults(path, schema) for path, schema in _places()}
UNKNOWN = [
    Fault(("workres",), 2),
    Fault(("tls", "chain"), "chain.pem"),
    Fault(("models", REMOTE, "connecttimeout"), 2),
]
MEANING = [
    # What a schema can't say.
    Fault(("listen",), ["127.0.0.1:1", "127.0.0.1:1"]),
    Fault(("listen",), "h:65536"),
    Fault(("host",), "a b"),
    Fault(("models", REMOTE, "url"), "localhost:1"),
    Fault(("models", REMOTE, "url"), "http://user:secret@h"),
    Fault(("models", REMOTE, "aliases"), ["qwen2-5-7b"]),
    Fault(("models", REMOTE, "aliases"), [REMOTE]),
    Fault(("models", REMOTE, "headers"), {"Content-Length": "1"}),
    Fault(("models", REMOTE, "headers"), {"A": "1", "a": "2"}),
    Fault(("models", REMOTE, "headers"), {"A": "${env:}"}),
    Fault(("authTokens",), ["a "]),
    Fault(("authTokens",), ["${file:"]),
    Fault(("maxBufferedBytes",), 1),
]
ALL = [*(fault for faults in OF_KEYS.values() for fault in faults), *UNKNOWN, *MEANING]


# What hides others: a listener is `listen` or the two others, and what is no object has no keys.
APART = {("listen",), ("tls",), ("models", REMOTE, "urls")}


def rounds() -> list[list[Fault]]:
    """All faults, as many at once as there are keys for."""
    by_key: dict[tuple[str, ...], list[Fault]] = {}
    for fault in ALL:
        by_key.setdefault(fault.path, []).append(fault)
    together = [[f for f in each if f is not None] for each in zip_longest(*by_key.values())]
    found = [
        [fault for fault in each if (fault.path in APART) is apart]
        for each in together
        for apart in (False, True)
    ]
    return [each for each in found if each]
