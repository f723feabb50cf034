"""Reads JSON strictly: duplicate keys and NaN, which Python's json accepts, are findings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from llmhop.config.findings import Finding
from llmhop.config.schema.checker import Path, key_path

_END: tuple[Any, Any] = (None, object())


class _Object(dict[str, Any]):
    """An object with a key that is there more than once; in it the last one counts."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def doubled(self) -> Iterator[str]:
        """Give each key that is there once more."""
        known: set[str] = set()
        for key, _ in self.pairs:
            if key in known:
                yield key
            known.add(key)


class _Constant:
    """A number of Python's json that JSON does not have: NaN, Infinity, -Infinity."""

    def __init__(self, name: str) -> None:
        self.name = name


def read_json(text: str) -> tuple[object, list[Finding]]:
    """Return a value, and what is doubtful in it, each with its path.

    Raises json.JSONDecodeError, RecursionError, and ValueError for a number that is too long.
    """
    data = json.loads(text, object_pairs_hook=_object, parse_constant=_Constant)
    return data, list(dict.fromkeys(_doubts(data)))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Object(pairs)


def _doubts(data: object) -> Iterator[Finding]:
    parents: list[str | int] = []
    levels: list[Iterator[tuple[str | int | None, object]]] = [iter([(None, data)])]
    while levels:  # what is nested may be deeper than Python calls
        key, value = next(levels[-1], _END)
        if value is _END[1]:
            levels.pop()
            if parents:
                parents.pop()
            continue
        if isinstance(value, _Constant):
            path = parents if key is None else [*parents, key]
            yield _finding(tuple(path), f"is {value.name}, which JSON does not know", "correct it")
            continue
        if not isinstance(value, (list, dict)):
            continue
        if key is not None:
            parents.append(key)
        if isinstance(value, _Object):
            for name in value.doubled():
                yield _finding((*parents, name), "is there more than once", "keep one")
        levels.append(iter(_items(value)))


def _items(value: list[object] | dict[str, object]) -> Iterable[tuple[str | int, object]]:
    if isinstance(value, list):
        return enumerate(value)
    return value.pairs if isinstance(value, _Object) else value.items()


def _finding(path: Path, what: str, todo: str) -> Finding:
    return Finding(key_path(*path) or "config", what, todo, path)
