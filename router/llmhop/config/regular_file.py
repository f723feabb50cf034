"""Reads files without ever waiting for somebody to write them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_PIECE_BYTES = 1 << 20


def read_at_most(file: BinaryIO, limit: int) -> bytes:
    """Return what is in a file, up to a byte more than `limit`, in memory for that alone.

    Raises OSError.
    """
    pieces: list[bytes] = []
    left = limit + 1
    while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file, up to a byte more than `limit`.

    Reading a FIFO that nobody writes, a terminal or a device could take for ever; systemd's
    credentials are regular files. Raises OSError, also for anything that is no regular file, and
    ValueError for a NUL in the path.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return read_at_most(file, limit)
    finally:
        os.close(descriptor)
