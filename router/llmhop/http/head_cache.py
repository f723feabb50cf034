"""Caches parsed heads, because clients and backends repeat theirs.

The key is every byte of a head but the digits of Content-Length. So a head is parsed once, and a
repeat costs two searches and a dictionary lookup; a head that was refused is never cached. Heads
with fields of fresh values are for `fresh_fields`: they would evict all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from llmhop.limits import MAX_HEAD_BYTES

Head = TypeVar("Head")

MAX_HEADS: Final = 512
"""With larger ones left out, the bound of a cache: about 4 MB."""

MAX_CACHED_BYTES: Final = 2048
"""Larger heads are parsed each time."""

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\nContent-Length: "
_LOWER_LENGTH: Final = b"\r\ncontent-length: "
_MAX_DIGITS: Final = 18

# What comes before and after the digits of Content-Length; or the whole head, with no length or
# one in another spelling. The middle part tells the three cases apart.
_Key = tuple[bytes, bytes, bytes]


class HeadCache(Generic[Head]):
    """Parsed heads by their bytes. They are shared, and so must be immutable."""

    __slots__ = ("_fresh", "_heads", "_parse")

    def __init__(
        self,
        parse: Callable[[bytes], tuple[Head, int | None]],
        fresh: Callable[[bytes], tuple[Head, int | None] | None] | None = None,
    ) -> None:
        """`parse` makes a head and its Content-Length of bytes up to an empty line.

        `fresh` does the same for heads that can't repeat, and answers None for all others.
        """
        self._parse = parse
        self._fresh = fresh
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
            if not _is_length(digits):
                return self._parse(raw)
            key = (before, name, after)
            if key in self._heads:
                return self._heads[key][0], int(digits)
        else:
            key = (before, name, after)
            if key in self._heads:
                return self._heads[key]
        if self._fresh is not None:
            read = self._fresh(raw)
            if read is not None:
                return read
        parsed = self._parse(raw)
        if len(raw) <= MAX_CACHED_BYTES:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[key] = parsed
        return parsed


class LastHead(Generic[Head]):
    """The head that a connection repeats, recognized without parsing any of it."""

    __slots__ = ("_after", "_before", "_cache", "_head", "_size")

    def __init__(self, cache: HeadCache[Head]) -> None:
        self._cache = cache
        self._head: Head | None = None
        # What stands before and after the digits of Content-Length, and the length of all of it
        # with them; 0 while that is not known.
        self._before = self._after = b""
        self._size = 0

    def read_whole(self, data: bytes) -> tuple[Head, bytes] | None:
        """Return the message in `data` if that is exactly one, with a body of known length.

        Most are. Answers None for all others. Raises what the cache raises.
        """
        head, size = self._head, self._size
        if size and head is not None:
            # Nothing is searched: if it is a repeat, its length says what head it must have.
            length = len(data) - size
            known = b"%b%d%b" % (self._before, length, self._after)
            if length > 0 and len(known) == size and data.startswith(known):
                return head, data[size:]
        end = data.find(_HEAD_END) + 4
        if not 4 < end <= MAX_HEAD_BYTES or data.startswith(b"\r"):
            return None
        raw = data[:end]
        found, announced = self._cache.read(raw)
        if found is not head:
            self._head, self._size = found, 0
        else:
            self._remember(raw)
        return (found, data[end:]) if announced and announced == len(data) - end else None

    def _remember(self, raw: bytes) -> None:
        before, name, after = raw.partition(_LENGTH)
        if not name:
            before, name, after = raw.partition(_LOWER_LENGTH)
        digits, end, after = after.partition(b"\r")
        if name and _is_length(digits):
            self._before, self._after, self._size = before + name, end + after, len(raw)


def _is_length(digits: bytes) -> bool:
    return digits.isdigit() and len(digits) <= _MAX_DIGITS
