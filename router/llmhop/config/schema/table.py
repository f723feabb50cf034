"""Tables of keys: a dataclass whose fields are declared with `setting` and `required`.

The name of a key is that of its field in camel case. A null stands for a key that is not given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields
from typing import Any, Literal, TypeVar, cast

import msgspec

from llmhop.config.schema.checker import Checker, Path
from llmhop.config.schema.kinds import Kind, Schema

T = TypeVar("T")
D = TypeVar("D")

AtStart = Literal["no", "yes", "presence"]
"""Whether a key is taken at a start alone, and not at a reload; or only that it is given."""

Values = dict[str, Any]
"""What was read of a table, by field, with defaults; a required one that is wrong is missing."""

_NESTED = ("anyOf", "properties", "required", "propertyNames", "additionalProperties")
"""What a schema says after the description, so that this is not below a page of it."""


class Setting(msgspec.Struct, frozen=True):
    """A key as it was declared. `default` is dataclasses.MISSING for a required one."""

    field: str
    kind: Kind[Any]
    default: Any
    description: str
    at_start: AtStart

    @property
    def required(self) -> bool:
        """Whether the key must be given."""
        return self.default is MISSING

    def schema(self) -> Schema:
        """Describe the key and its value to JSON Schema."""
        schema = dict(self.kind.schema)
        if not self.required:
            schema = _nullable(schema)
        nested = {name: schema.pop(name) for name in _NESTED if name in schema}
        if self.default not in (MISSING, None, ()):
            schema["default"] = self.kind.written(self.default)
        return {**schema, "description": self.description, **nested}


def setting(kind: Kind[T], default: D, description: str, *, at_start: AtStart = "no") -> T | D:
    """Declare a key that may be left out."""
    return cast("T | D", _field(kind, default, description, at_start))


def required(kind: Kind[T], description: str) -> T:
    """Declare a key that must be given."""
    return cast("T", _field(kind, MISSING, description, "no"))


def _field(kind: Kind[Any], default: object, description: str, at_start: AtStart) -> object:
    metadata = {"declared": (kind, default, description, at_start)}
    return field(default=default, repr=not kind.is_secret, metadata=metadata)


class OneOf:
    """A rule: exactly one of some keys is given."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.schema: Schema = {"oneOf": [_given(key) for key in keys]}

    def check(self, check: Checker, path: Path, given: Values, advice: str) -> None:
        """Check the keys that are given; `advice` is that of the first key."""
        there = [key for key in self.keys if key in given]
        if not there:
            check.report((*path, self.keys[0]), "is missing", advice)
        elif len(there) > 1:
            _refuse_together(check, path, *there)


class NotTogether:
    """A rule: a key is not given together with some others, for which it stands."""

    def __init__(self, key: str, *others: str) -> None:
        self.keys = key, *others
        self.schema: Schema = {"allOf": [{"not": _given(key, other)} for other in others]}

    def check(self, check: Checker, path: Path, given: Values, _advice: str) -> None:
        """Check the keys that are given."""
        key, *others = self.keys
        if key in given and any(other in given for other in others):
            _refuse_together(check, path, *self.keys)


class Table(Kind[T]):
    """An object with known keys: those of a dataclass."""

    def __init__(
        self,
        made: type[T],
        *rules: OneOf | NotTogether,
        finish: Callable[[Checker, Path, Values, Values], None] | None = None,
    ) -> None:
        """`finish` checks one value by another, and may change them before `made` gets them.

        It gets what was given, by key, and what was read, by field.
        """
        self.settings: Mapping[str, Setting] = {
            _camel(each.name): Setting(each.name, *each.metadata["declared"])
            for each in fields(cast(Any, made))
        }
        self._required = [key for key, each in self.settings.items() if each.required]
        self.advice = f"write {{…}} with the keys {', '.join(self.settings)}"
        self._made = made
        self._rules = rules
        self._finish = finish
        self.schema = {
            "type": "object",
            "properties": {key: each.schema() for key, each in self.settings.items()},
            "required": list(self._required),
            "additionalProperties": False,
        }
        if len(rules) == 1:
            self.schema |= rules[0].schema
        elif rules:
            self.schema["allOf"] = [rule.schema for rule in rules]
        self._defaults = {s.field: s.default for s in self.settings.values() if not s.required}

    def read(self, check: Checker, path: Path, value: object) -> T | None:
        before = len(check.findings)
        values = self.values(check, path, value)
        if values is None or len(check.findings) > before:
            return None
        return self._made(**values)

    def values(self, check: Checker, path: Path, value: object) -> Values | None:
        """Read every key, whatever is wrong with another. None where this is no object."""
        given = check.members(path, value, self.settings)
        if given is None:
            return None
        for rule in self._rules:
            rule.check(check, path, given, self.settings[rule.keys[0]].kind.advice)
        values = self._defaults.copy()
        for key in [key for key in self.settings if key in given or key in self._required]:
            each = self.settings[key]
            if key not in given:
                check.report((*path, key), each.kind.missing, each.kind.advice)
                continue
            read = each.kind.read(check, (*path, key), given[key])
            if read is not None:
                values[each.field] = read
        if self._finish is not None:
            self._finish(check, path, given, values)
        return values


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _refuse_together(check: Checker, path: Path, key: str, *others: str) -> None:
    what = f"is given together with {' or '.join(others)}"
    check.report((*path, key), what, "keep one of the two")


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}


def _given(*keys: str) -> Schema:
    given = {"not": {"type": "null"}}
    return {"required": list(keys), "properties": dict.fromkeys(keys, given)}
