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

_LENGTH: Final = b"\r\nContent-Length: "
_LOWER_LENGTH: Final = b"\r\ncontent-length: "
_MAX_DIGITS: Final = 18

# What comes before and after the digits of Content-Length; or the whole head, with no length or
# one in another spelling. The middle part tells the three cases apart.
_Key = tuple[bytes, bytes, bytes]


class HeadCache(Generic[Head]):
    """Parsed heads by their bytes. What it gives out is shared and so must be immutable."""

    __slots__ = ("_heads", "_parse")

    def __init__(self, parse: Callable[[bytes], tuple[Head, int | None]]) -> None:
        """`parse` makes a head and its Content-Length of bytes up to an empty line."""
        self._parse = parse
        self._heads: dict[_Key, tuple[Head, int | None]] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def read(self, raw: bytes) -> tuple[Head, int | None]:
        """Return what `parse` does for `raw`, and raise what it raises."""
        before, name, after = raw.partition(_LENGTH)
        if not name:
            before, name, after = raw.partition(_LOWER_LENGTH)
        if name:
            digits, _, after = after.partition(b"\r")
            if not digits.isdigit() or len(digits) > _MAX_DIGITS:
                return self._parse(raw)
            key = (before, name, after)
            if key in self._heads:
                return self._heads[key][0], int(digits)
        else:
            key = (before, name, after)
            if key in self._heads:
                return self._heads[key]
        parsed = self._parse(raw)
        if len(raw) <= MAX_CACHED_BYTES:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[key] = parsed
        return parsed
