"""What each client uses, in memory that all processes share.

Each process has a slot that only it writes, so that nothing is locked, and adds up what all of
them say. A client's row is where its name stands among all names, in order; a slot tells by a hash
of them by which configuration it has its rows, so that one by another is passed over while a reload
is on its way through the workers.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

from llmhop.config.tables.client import MAX_CLIENTS

NO_NAMES: Final = 0

_MAP_NORESERVE: Final = 0x4000  # Linux: memory is taken as it is written to
_NAMES: Final = struct.Struct("@Q")
_ROW: Final = struct.Struct("@6Q")
_IN_FLIGHT: Final = struct.Struct("@Q")
_SLOT_BYTES: Final = _NAMES.size + _ROW.size * MAX_CLIENTS

Row = tuple[int, int, int, int, int, int]
"""Requests in flight; a minute of the monotonic clock, the requests and the tokens in it, and those
in the one before."""

EMPTY: Final[Row] = (0, 0, 0, 0, 0, 0)


def hash_names(names: Iterable[str]) -> int:
    """Return a number that stands for the names of all clients, in order."""
    digest = blake2b("\n".join(names).encode(), digest_size=_NAMES.size).digest()
    return int.from_bytes(digest, "big") or 1


class QuotaStore:
    """Slots for so many processes. Made before they are forked."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._memory = mmap.mmap(-1, slots * _SLOT_BYTES, flags)

    def names(self, slot: int) -> int:
        """Return what `hash_names` gives for the rows of a slot, NO_NAMES before there are any."""
        number: int = _NAMES.unpack_from(self._memory, slot * _SLOT_BYTES)[0]
        return number

    def rows(self, names: int, index: int) -> Iterator[Row]:
        """Give a client's row in each slot that has its rows by these names."""
        for slot in range(self._slots):
            if self.names(slot) == names:
                yield self.row(slot, index)

    def row(self, slot: int, index: int) -> Row:
        """Return a row of a slot."""
        row: Row = _ROW.unpack_from(self._memory, _offset(slot, index))
        return row

    def write(self, slot: int, index: int, row: Row) -> None:
        """Write a row of one's own slot."""
        _ROW.pack_into(self._memory, _offset(slot, index), *row)

    def replace(self, slot: int, names: int, rows: list[Row]) -> None:
        """Write all rows of one's own slot anew, by other names."""
        _NAMES.pack_into(self._memory, slot * _SLOT_BYTES, NO_NAMES)
        for index, row in enumerate(rows):
            self.write(slot, index, row)
        _NAMES.pack_into(self._memory, slot * _SLOT_BYTES, names)

    def ended(self, slot: int) -> None:
        """Take note that the process of a slot is gone, and its requests with it."""
        for index in range(MAX_CLIENTS):
            _IN_FLIGHT.pack_into(self._memory, _offset(slot, index), 0)


def _offset(slot: int, index: int) -> int:
    return slot * _SLOT_BYTES + _NAMES.size + index * _ROW.size
