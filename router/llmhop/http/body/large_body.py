"""Bodies too large to be copied: read into the memory from which they are sent.

Memory is taken in pieces as bytes arrive, not as a Content-Length announces them, and no piece is
moved or joined, but for a first small one. Of a body in several pieces each is searched for the
model on arrival, so that the end of a body costs no long pause. Arrays of two sizes are reused,
because returning memory to the kernel and faulting it in again costs as much as relaying what it
holds.
"""

from __future__ import annotations

from typing import Final

from llmhop.http.body.json_scanner import ModelScanner

LARGE_BYTES: Final = 64 * 1024
"""Bodies of more bytes are large; the others come in one piece or two."""

PIECE_BYTES: Final = 256 * 1024
"""No more is read at once."""

_FIRST_BYTES: Final = (16 * 1024, 64 * 1024)
_MANY_BYTES: Final = 4 * PIECE_BYTES
_MAX_KEPT: Final = {PIECE_BYTES: 32, _MANY_BYTES: 4}  # 12 MB in all
_kept: Final[dict[int, list[bytearray]]] = {size: [] for size in _MAX_KEPT}

_NOTHING: Final = memoryview(b"")

Part = bytes | bytearray | memoryview


def _take(size: int) -> memoryview:
    """Return a view of `size` bytes that nobody uses, whatever they hold.

    An array is in use as long as there is a view of it: in a body, or in a write that still waits
    for the socket. So nothing has to be given back, and nothing can be too early.
    """
    arrays = _kept.get(size)
    if arrays is None:
        return memoryview(bytearray(size))
    # The one that was taken longest ago comes first.
    for place, array in enumerate(arrays):
        if not _is_viewed(array):
            arrays.append(arrays.pop(place))
            return memoryview(array)
    array = bytearray(size)
    if len(arrays) < _MAX_KEPT[size]:
        arrays.append(array)
    return memoryview(array)


def _is_viewed(array: bytearray) -> bool:
    try:
        # Python lets nobody resize what there is a view of. Nothing moves for one byte less.
        array.append(array.pop())
    except BufferError:
        return True
    return False


class ScannedBody:
    """A body in pieces, with what `scanner` read of them."""

    __slots__ = ("parts", "scanner", "size")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.scanner = ModelScanner()
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)

    def append(self, part: Part) -> None:
        """Add a piece that is yet to be read."""
        self.parts.append(part)
        self.scan(part)

    def scan(self, part: Part) -> None:
        """Read a piece that has its place already."""
        self.size += len(part)
        self.scanner.feed(bytes(part))


Body = bytes | bytearray | memoryview | ScannedBody
"""A body; one of more than PIECE_BYTES is a ScannedBody."""


class LargeBody:
    """A body of known length while it is received, until `take`."""

    __slots__ = ("_array", "_body", "_filled", "_is_one_piece", "_left")

    def __init__(self, length: int) -> None:
        self._array = _NOTHING
        self._filled = 0
        self._left = length
        self._is_one_piece = length <= PIECE_BYTES
        self._body = ScannedBody()

    @property
    def complete(self) -> bool:
        """Whether the whole body has come."""
        return self._left == 0

    @property
    def size(self) -> int:
        """How much of it has come."""
        return self._filled if self._is_one_piece else self._body.size

    def space(self, wanted: int = 0) -> memoryview:
        """Return where the next bytes go; no more than what is missing, and never empty.

        `wanted` is how many bytes are there already.
        """
        if self._filled == len(self._array):
            array = _take(self._next_size(wanted))
            if self._is_one_piece:
                array[: self._filled] = self._array
            else:
                self._close_array()
            self._array = array
        return self._array[self._filled : self._filled + min(self._left, PIECE_BYTES)]

    def filled(self, count: int) -> None:
        """Take note that `count` bytes were put where `space` said."""
        start = self._filled
        self._filled += count
        self._left -= count
        if not self._is_one_piece:
            self._body.scan(self._array[start : self._filled])

    def add(self, data: memoryview) -> int:
        """Copy what belongs to the body from the beginning of `data`; return how much."""
        taken = 0
        while taken < len(data) and not self.complete:
            space = self.space(len(data) - taken)
            count = min(len(space), len(data) - taken)
            space[:count] = data[taken : taken + count]
            self.filled(count)
            taken += count
        return taken

    def _next_size(self, wanted: int) -> int:
        come = self.size + wanted
        # Clients that announce much and send little could take much memory otherwise.
        for size in _FIRST_BYTES:
            if come <= size and self._filled < size:
                return size
        return PIECE_BYTES if come < _MANY_BYTES or self._left <= PIECE_BYTES else _MANY_BYTES

    def _close_array(self) -> None:
        # uvloop keeps the last protocol with buffers, and so this object, with its connection.
        array, self._array = self._array, _NOTHING
        if self._filled:
            self._body.parts.append(array[: self._filled])
            self._filled = 0

    def take(self) -> ScannedBody | memoryview:
        """Return the whole body, and let go of it: one of up to PIECE_BYTES unread."""
        if self._is_one_piece:
            body = self._array[: self._filled]
            self._array, self._filled = _NOTHING, 0
            return body
        self._close_array()
        scanned, self._body = self._body, ScannedBody()
        return scanned
