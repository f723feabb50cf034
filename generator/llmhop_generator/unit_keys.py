"""Keys that a deployer adds to a model's unit: unitConfig, serviceConfig, containerConfig.

They are written after our own, as they stand. A key that takes one value is so replaced, one
that takes several is added to, and an empty value empties it first: what systemd and Podman
make of repeated keys, and what a drop-in would do. Keys by which we know a model are refused.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, JsonValue, WithJsonSchema

from llmhop_generator.text import Matching, unrepresentable

SECTIONS = {"unitConfig": "Unit", "containerConfig": "Container", "serviceConfig": "Service"}
"""The section of the unit that each option adds to."""

KeyName = Annotated[
    str, Matching(r"[A-Za-z][A-Za-z0-9-]*", "a key of a unit file, such as TimeoutStartSec")
]

_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_TAKEN = {
    "containerConfig": {
        "ContainerName": "set the model's `name`",
        "EnvironmentFile": "set the option `environmentFile`",
        "Exec": "set the option `settings`",
        "Image": "set the options `image` and `tag`, or `digest`",
        "Notify": "a model is up when its health check says so",
        "PublishPort": "set the option `port`",
        "Pull": "a tag is pulled where a newer image is found, a digest once",
        "ServiceName": "set the model's `name`",
    },
    "serviceConfig": {
        "ExecStart": "Podman writes it; set `settings` or keys of containerConfig",
        "Type": "a model is up when its health check says so",
    },
    "unitConfig": {},
}
_NAME = re.compile(r"""(?:^|[\s"'])([A-Za-z_][A-Za-z0-9_]*)=""")


def _check(value: JsonValue) -> JsonValue:
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, str | bool | int | float):
            raise ValueError("must be a string, a number, true, false, or a list of these")
        if reason := unrepresentable(_text(item)):
            raise ValueError(reason)
        if _text(item).endswith("\\"):
            raise ValueError("ends with a backslash, which joins the next line to it; remove it")
    return value


UnitValue = Annotated[
    JsonValue,
    AfterValidator(_check),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}),
]
"""What a key is set to; each item of a list becomes a line of its own."""

UnitKeys = dict[KeyName, UnitValue]


def lines(general: Mapping[str, Any], own: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give the lines of one section: the model's keys win over the backend-wide ones."""
    merged = {**general, **own}
    return [(key, _text(item)) for key in sorted(merged) for item in _items(merged[key])]


def problems(option: str, keys: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Find the keys that one of the options can't set: each, and what to do."""
    for key in keys:
        if key in _TAKEN[option]:
            yield key, f"is not for {option}: {_TAKEN[option][key]}"


def variables(keys: Mapping[str, Any]) -> set[str]:
    """Give the names of the variables that Environment= sets."""
    return {name for item in _items(keys.get("Environment")) for name in _NAME.findall(str(item))}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(item: Any) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    return str(item)
