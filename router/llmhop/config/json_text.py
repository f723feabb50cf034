"""Reads JSON of which every reader takes the same: Python's own also takes what is doubtful."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llmhop.config.problems import Problem
from llmhop.config.schema.checker import Path, key_path


class _Object(dict[str, Any]):
    """An object with a key that is there more than once; in it the last one counts."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


class _Constant:
    """What Python takes for a number and JSON does not: NaN, Infinity, -Infinity."""

    def __init__(self, name: str) -> None:
        self.name = name


def read_json(text: str) -> tuple[object, list[Problem]]:
    """Return a value, and what is doubtful in it, each with its path.

    Raises json.JSONDecodeError, RecursionError, and ValueError for a number that is too long.
    """
    data = json.loads(text, object_pairs_hook=_object, parse_constant=_Constant)
    return data, list(dict.fromkeys(_doubts(data)))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Object(pairs)


def _doubts(data: object) -> Iterator[Problem]:
    waiting: list[tuple[Path, object]] = [((), data)]
    while waiting:  # what is nested may be deeper than Python calls
        path, value = waiting.pop()
        if isinstance(value, _Constant):
            yield _problem(path, f"is {value.name}, which JSON does not know", "correct it")
        elif isinstance(value, list):
            waiting += [((*path, index), item) for index, item in enumerate(value)][::-1]
        elif isinstance(value, dict):
            pairs = value.pairs if isinstance(value, _Object) else list(value.items())
            known: set[str] = set()
            for key, _ in pairs:
                if key in known:
                    yield _problem((*path, key), "is there more than once", "keep one")
                known.add(key)
            waiting += [((*path, key), item) for key, item in pairs][::-1]


def _problem(path: Path, what: str, todo: str) -> Problem:
    return Problem(key_path(*path) or "config", what, todo, path)
