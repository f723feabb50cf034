"""Remembers heads that were parsed, because clients and backends repeat theirs.

What tells two heads apart is every byte of them, but for the digits of Content-Length. So a head
is parsed once, and its repeats cost two searches and a dictionary; a head that differs in any
other byte is another one, and one that was refused is never remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

Head = TypeVar("Head")

MAX_HEADS: Final = 512
"""With larger ones left out, the bound of a cache: about 4 MB."""

MAX_CACHED_BYTES: Final = 2048
"""Larger heads are parsed each time."""

_SPELLINGS: Final = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_NAME_BYTES: Final = len(_SPELLINGS[0])
_MAX_DIGITS: Final = 18


class HeadCache(Generic[Head]):
    """Parsed heads by their bytes. What it gives out is shared and so must be immutable."""

    __slots__ = ("_heads", "_parse")

    def __init__(self, parse: Callable[[bytes], tuple[Head, int | None]]) -> None:
        """`parse` makes a head and its Content-Length of bytes up to an empty line."""
        self._parse = parse
        self._heads: dict[bytes, tuple[Head, int | None]] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def read(self, raw: bytes) -> tuple[Head, int | None]:
        """Return what `parse` does for `raw`, and raise what it raises."""
        at = raw.find(_SPELLINGS[0])
        if at < 0:
            at = raw.find(_SPELLINGS[1])
        if at < 0:  # no length, or one in another spelling, which is then part of the key
            return self._heads.get(raw) or self._remember(raw, raw)
        first = at + _NAME_BYTES
        end = raw.find(b"\r", first)
        digits = raw[first:end]
        if not digits.isdigit() or len(digits) > _MAX_DIGITS:
            return self._parse(raw)
        # A key without its digits is not a valid head, so it is never the key of another one.
        key = raw[:first] + raw[end:]
        known = self._heads.get(key)
        return (known[0], int(digits)) if known else self._remember(key, raw)

    def _remember(self, key: bytes, raw: bytes) -> tuple[Head, int | None]:
        parsed = self._parse(raw)
        if len(raw) <= MAX_CACHED_BYTES:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[key] = parsed
        return parsed
