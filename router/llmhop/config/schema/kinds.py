"""Kinds of values that a key can have: how one is read, and how JSON Schema describes it.

A kind is stated once, where its key is declared. What only llmhop's own values need (addresses,
URLs, headers) stands in config.values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, get_args

from llmhop.config.schema.checker import Checker, Path, encodable

Schema = Mapping[str, Any]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_BYTES = 2**63 - 1
"""Most bytes that a config may name."""

MAX_SECONDS = 86400
"""Longest time that a config may ask for: a day."""


class Kind(ABC, Generic[T_co]):
    """A kind of value. `advice` says what to write where a value is missing or wrong.

    `schema` describes the value to JSON Schema, but for null; `is_secret` keeps it out of any repr.
    """

    advice: str
    schema: Schema
    missing = "is missing"
    is_secret = False

    @abstractmethod
    def read(self, check: Checker, path: Path, value: object) -> T_co | None:
        """Check a value and return what it stands for; None where `check` has a new finding."""

    def written(self, value: Any) -> object:
        """Return the JSON value that stands for a default."""
        return value


class Boolean(Kind[bool]):
    """True or false."""

    advice = "write true or false"
    schema: Schema = {"type": "boolean"}

    def read(self, check: Checker, path: Path, value: object) -> bool | None:
        if isinstance(value, bool):
            return value
        check.report(path, "is not a boolean", self.advice)
        return None


class Whole(Kind[int]):
    """A whole number between two bounds."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self.advice = f"write a number from {least} to {most}"
        self.schema = {"type": "integer", "minimum": least, "maximum": most}

    def read(self, check: Checker, path: Path, value: object) -> int | None:
        number = check.typed(path, value, int, self.advice)
        if number is None or self.least <= number <= self.most:
            return number
        check.report(path, "is out of range", self.advice)
        return None


class Seconds(Kind[float]):
    """A time in seconds, above 0 and up to a day."""

    advice = f"write seconds above 0 and up to {MAX_SECONDS}"
    schema: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS}

    def read(self, check: Checker, path: Path, value: object) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            check.report(path, "is not a number", "write seconds, e.g. 10")
        elif not 0 < value <= MAX_SECONDS:
            check.report(path, "is out of range", self.advice)
        else:
            return float(value)
        return None


class Choice(Kind[Any]):
    """One of a few words, those of a Literal."""

    def __init__(self, noun: str, literal: object) -> None:
        self.words = get_args(literal)
        quoted = [f'"{word}"' for word in self.words]
        self.advice = f"write {', '.join(quoted[:-1])} or {quoted[-1]}"
        self.schema = {"type": "string", "enum": list(self.words)}
        self._unknown = f"is not a known {noun}"

    def read(self, check: Checker, path: Path, value: object) -> Any:
        if value in self.words:
            return value
        check.report(path, self._unknown, self.advice)
        return None


class Text(Kind[T_co]):
    """A string that stands for something."""

    def __init__(
        self,
        parse: Callable[[str], T_co],
        advice: str,
        advice_on: Callable[[ValueError], str] | None = None,
        **keywords: object,
    ) -> None:
        """`parse` returns what a string stands for, or raises ValueError saying what is wrong.

        `advice_on` says what to do about such an error where `advice` does not; `keywords` are
        those of JSON Schema.
        """
        self.advice = advice
        self.schema = {"type": "string", **keywords}
        self._parse = parse
        self._advice_on = advice_on or (lambda _error: advice)

    def read(self, check: Checker, path: Path, value: object) -> T_co | None:
        text = check.typed(path, value, str, self.advice)
        try:
            return None if text is None else self._parse(text)
        except ValueError as error:
            check.report(path, str(error), self._advice_on(error))
            return None


class ListOf(Kind[tuple[T, ...]]):
    """A list of one kind of value, with how many there may be, and whether each only once."""

    def __init__(
        self, of: Kind[T], advice: str, *, least: int = 0, most: int = 0, unique: bool = False
    ) -> None:
        """A `most` of 0 is no limit."""
        self.of = of
        self.advice = advice
        self.is_secret = of.is_secret
        self._least = least
        self._most = most
        self._unique = unique
        bounds = {"minItems": least, "maxItems": most, "uniqueItems": unique}
        given = {keyword: bound for keyword, bound in bounds.items() if bound}
        self.schema = {"type": "array", **given, "items": of.schema}

    def read(self, check: Checker, path: Path, value: object) -> tuple[T, ...] | None:
        given = check.typed(path, value, list, self.advice)
        if given is None:
            return None
        if len(given) < self._least:
            check.report(path, "is an empty list", self.advice)
        elif self._most and len(given) > self._most:
            check.report(path, "is too long", f"write up to {self._most} {path[-1]}")
        found: list[T] = []
        known: set[object] = set()
        for index, item in enumerate(given):
            read = self.of.read(check, (*path, index), item)
            if read is None:
                continue
            if self._unique and self.identity(read) in known:
                self.refuse_repeated(check, (*path, index))
                continue
            known.add(self.identity(read))
            found.append(read)
        return tuple(found)

    def identity(self, value: T) -> object:
        """What two values have in common where they are one, written in two ways. Hashable."""
        return value

    def refuse_repeated(self, check: Checker, path: Path) -> None:
        """Report a value that was there before."""
        check.report(path, "is listed twice", "remove it")


class Named(Kind[dict[str, T]]):
    """An object whose keys are names, each with one kind of value, at least one of them."""

    def __init__(self, noun: str, of: Kind[T], advice: str) -> None:
        self.of = of
        self.advice = advice
        self.missing = f"has no {noun}"
        self.schema = {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"minLength": 1},
            "additionalProperties": of.schema,
        }

    def read(self, check: Checker, path: Path, value: object) -> dict[str, T] | None:
        given = check.typed(path, value, dict, self.advice)
        if given == {}:
            check.report(path, self.missing, self.advice)
        found: dict[str, T] = {}
        for name, entry in (given or {}).items():
            if not name or not encodable(name):
                todo = "name it as clients do"
                check.report((*path, name), "has an empty or broken name", todo)
            read = self.of.read(check, (*path, name), entry)
            if read is not None:
                found[name] = read
        return found
