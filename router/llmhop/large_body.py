"""Bodies that are too large to be copied about: read straight into the memory they are sent from.

Memory is taken as bytes arrive, not as a Content-Length announces them. Arrays of two sizes are
used again, because giving memory back to the kernel and faulting it in anew costs as much as
relaying what it holds.
"""

from __future__ import annotations

from typing import Final

LARGE_BYTES: Final = 64 * 1024
"""Bodies of more bytes are large; the others come in one piece or two."""

_FEW_BYTES: Final = 16 * 1024
_FIRST_BYTES: Final = 256 * 1024
_GROWTH: Final = 4
_MAX_KEPT: Final = {_FIRST_BYTES: 32, _FIRST_BYTES * _GROWTH: 4}  # 12 MB in all
_kept: Final[dict[int, list[bytearray]]] = {size: [] for size in _MAX_KEPT}

_NOTHING: Final = memoryview(b"")


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


class LargeBody:
    """A body of known length on its way in. It ends by `view`."""

    __slots__ = ("_array", "_filled", "_length")

    def __init__(self, length: int) -> None:
        self._array = _NOTHING
        self._filled = 0
        self._length = length

    @property
    def complete(self) -> bool:
        """Whether the whole body has come."""
        return self._filled == self._length

    def space(self, wanted: int = 0) -> memoryview:
        """Return where the next bytes go; no more than what is missing, and never empty.

        `wanted` is how many bytes are there already.
        """
        if self._filled == len(self._array):
            larger = _take(self._larger_size(wanted))
            larger[: self._filled] = self._array
            self._array = larger
        return self._array[self._filled : self._length]

    def filled(self, count: int) -> None:
        """Take note that `count` bytes were put where `space` said."""
        self._filled += count

    def add(self, data: memoryview) -> int:
        """Copy what belongs to the body from the beginning of `data`; return how much."""
        taken = 0
        while taken < len(data) and not self.complete:
            space = self.space(len(data) - taken)
            count = min(len(space), len(data) - taken)
            space[:count] = data[taken : taken + count]
            self._filled += count
            taken += count
        return taken

    def _larger_size(self, wanted: int) -> int:
        size = len(self._array)
        if size == 0 and wanted <= _FEW_BYTES:
            # Clients that announce much and send little could take much memory otherwise.
            return _FEW_BYTES
        if size < _FIRST_BYTES:
            return _FIRST_BYTES
        # The last size is no larger than the body.
        return max(_FIRST_BYTES * _GROWTH, min(size * _GROWTH, self._length))

    def view(self) -> memoryview:
        """Return the whole body, and let go of it."""
        # uvloop keeps the last protocol with buffers, and so this object, with its connection.
        array, self._array = self._array, _NOTHING
        return array[: self._length]
