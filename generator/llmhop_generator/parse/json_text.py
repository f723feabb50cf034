"""Reads JSON of which every reader takes the same: Python's own also takes what is doubtful."""

import json
import math
from collections.abc import Iterator
from typing import Any

from llmhop_generator.errors import Path

_MAX_DIGITS = 400


class _Doubt:
    """A number in whose place stands what is wrong with it."""

    def __init__(self, what: str) -> None:
        self.what = what


class _Object(dict[str, Any]):
    """An object with a key that is there more than once; in it the last one counts."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def read_json(text: str) -> tuple[Any, list[tuple[Path, str]]]:
    """Return a value, and what is doubtful in it, each with its path.

    In the place of a number that is doubtful stands null.

    Raises:
        json.JSONDecodeError: where it is not JSON.
        RecursionError: where it is nested too deeply.
    """
    whole = [
        json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=lambda name: _Doubt(f"is {name}, which is not JSON; write a number"),
            parse_float=_finite,
            parse_int=_short,
        )
    ]
    doubts = list(_doubts(whole))
    return whole[0], doubts


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    return read if len(read) == len(pairs) else _Object(pairs)


def _finite(digits: str) -> float | _Doubt:
    number = float(digits)
    if math.isfinite(number):
        return number
    return _Doubt(f"is {digits}, which is too large; write a smaller number")


def _short(digits: str) -> int | _Doubt:
    if len(digits) <= _MAX_DIGITS:
        return int(digits)
    return _Doubt(f"is a number of {len(digits)} digits; shorten it")


def _doubts(whole: list[Any]) -> Iterator[tuple[Path, str]]:
    """Find what is doubtful in the only item of a list, and put null in the place of numbers."""
    waiting: list[tuple[Path, Any, Any, Any]] = [((), whole, 0, whole[0])]
    while waiting:  # what is nested may be deeper than Python calls
        path, parent, key, value = waiting.pop()
        if isinstance(value, _Doubt):
            parent[key] = None
            yield path, value.what
        elif isinstance(value, list):
            waiting += [((*path, n), value, n, item) for n, item in enumerate(value)]
        elif isinstance(value, dict):
            pairs = value.pairs if isinstance(value, _Object) else list(value.items())
            known: set[str] = set()
            for name, _ in pairs:
                if name in known:
                    yield (*path, name), "is there more than once; keep one"
                known.add(name)
            waiting += [((*path, name), value, name, item) for name, item in pairs]
