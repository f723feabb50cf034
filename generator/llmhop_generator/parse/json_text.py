"""Reads JSON of which every reader takes the same: Python's own also takes what is doubtful."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from llmhop_generator.errors import Finding

_MAX_DIGITS = 400
_END: tuple[Any, Any] = (None, object())


class _Doubt:
    """A number in whose place stands what is wrong with it."""

    def __init__(self, what: str) -> None:
        self.what = what


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


def read_json(text: str) -> tuple[Any, list[Finding]]:
    """Return a value, and what is doubtful in it.

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


def _doubts(whole: list[Any]) -> Iterator[Finding]:
    """Find what is doubtful in the only item of a list, and put null in the place of numbers."""
    parents: list[str | int] = []
    levels: list[tuple[Any, Iterator[tuple[Any, Any]]]] = [(whole, iter([(0, whole[0])]))]
    while levels:  # what is nested may be deeper than Python calls
        parent, items = levels[-1]
        key, value = next(items, _END)
        if value is _END[1]:
            levels.pop()
            if parents:
                parents.pop()
            continue
        is_top = len(levels) == 1
        if isinstance(value, _Doubt):
            if parent[key] is value:  # and not another one of that key
                parent[key] = None
            yield Finding.at(() if is_top else (*parents, key), value.what)
        elif isinstance(value, (list, dict)):
            if not is_top:
                parents.append(key)
            if isinstance(value, _Object):
                for name in value.doubled():
                    yield Finding.at((*parents, name), "is there more than once; keep one")
            levels.append((value, iter(_items(value))))


def _items(value: list[Any] | dict[str, Any]) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, list):
        return enumerate(value)
    return value.pairs if isinstance(value, _Object) else value.items()
