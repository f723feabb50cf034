"""Keys that a deployer adds to a model's unit: unitConfig, serviceConfig, containerConfig.

They are written after our own, as they stand. A key that takes one value is so replaced, one
that takes several is added to, and an empty value empties it first: what systemd and Podman
make of repeated keys, and what a drop-in would do. What would undo what we rely on is refused.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, JsonValue, WithJsonSchema

from llmhop_generator.contract import key_rules
from llmhop_generator.contract.keys.arguments import flags_of
from llmhop_generator.contract.keys.conflicts import conflicts as keys_in_conflict
from llmhop_generator.contract.text import Matching, unrepresentable
from llmhop_generator.errors import Finding, Path

SECTIONS = {"unitConfig": "Unit", "containerConfig": "Container", "serviceConfig": "Service"}
"""The section of the unit that each option adds to."""

KeyName = Annotated[
    str, Matching(r"[A-Za-z][A-Za-z0-9-]*", "a key of a unit file, such as TimeoutStartSec")
]

_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_VARIABLE = re.compile(r"""(?:^|[\s"'])([A-Za-z_][A-Za-z0-9_]*)=""")

# Names of units in keys of [Unit]. systemd only logs a name that is none, and starts by the
# rest (systemd.unit(5)). Podman takes Quadlet sources by their file names beside
# (podman-systemd.unit(5), Dependencies between units).
REQUIRING = ("BindsTo", "Requires", "Requisite")
"""Keys that keep a unit down where the named one is not there."""
TYING = (*REQUIRING, "Conflicts", "PartOf", "PropagatesStopTo", "StopPropagatedFrom", "Upholds")
"""Keys by which a stop or start of one of two units is one of the other."""
UNIT_LISTS = (
    *(*TYING, "After", "Before", "JoinsNamespaceOf", "OnFailure", "OnSuccess"),
    *("PropagatesReloadTo", "ReloadPropagatedFrom", "Wants"),
)
"""Keys of [Unit] that take a list of units."""

_TYPES = "automount|device|mount|path|scope|service|slice|socket|swap|target|timer"
_SOURCES = "build|container|image|kube|network|pod|volume"
_UNIT_NAME = re.compile(rf"(?!@)[A-Za-z0-9:_.\\@-]+(?<!@)\.({_TYPES}|{_SOURCES})")
_SPECIFIER = re.compile(r"%[%A-Za-z]")
_UNIT_NAME_MAX = 255  # UNIT_NAME_MAX in src/basic/unit-def.h of systemd


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


def findings(path: Path, option: str, keys: Mapping[str, Any]) -> Iterator[Finding]:
    """Find the keys that the option at a path can't set."""
    texts = {key: texts_of(value) for key, value in keys.items()}
    yield from key_rules.findings(path, option, texts)


def conflicts(
    ours: Mapping[str, Sequence[str]], general: Mapping[str, Any], own: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Find keys of containerConfig that a model can't have at once, with those of every model.

    `ours` gives the lines that stand before them.
    """
    yield from keys_in_conflict(
        ours, {key: texts_of(value) for key, value in {**general, **own}.items()}
    )


def texts_of(value: Any) -> list[str]:
    """Give the lines that a key's value becomes, without what can't be one."""
    return [_text(item) for item in _items(value) if isinstance(item, str | bool | int | float)]


def variables(keys: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the variables that are set: the key that does it, and the name of each."""
    for item in texts_of(keys.get("Environment", [])):
        yield from (("Environment", name) for name in _VARIABLE.findall(item))
    # An argument and its value may be items of their own.
    for flag, value in flags_of(" ".join(texts_of(keys.get("PodmanArgs", [])))):
        name, sets, _ = value.partition("=")
        if flag in ("--env", "-e") and sets:
            yield "PodmanArgs", name


def units_named(keys: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the names of units in keys of [Unit]: the key, and a name in it."""
    for key, value in keys.items():
        if key in UNIT_LISTS:
            yield from ((key, name) for text in texts_of(value) for name in _split_list(text))


def is_unit_name(name: str) -> bool:
    """Whether systemd takes a word as the name of a unit, its specifiers aside."""
    plain = _SPECIFIER.sub("x", name)
    return len(plain) <= _UNIT_NAME_MAX and _UNIT_NAME.fullmatch(plain) is not None


def service_named(name: str) -> str:
    """The service that is meant where a name is that of a Quadlet source of a container."""
    return re.sub(r"\.container$", ".service", name)


def _split_list(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        return list(lexer)
    except ValueError:
        return text.split()


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(item: Any) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    return str(item)
