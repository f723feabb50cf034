"""Tunes glibc's malloc, so that it keeps memory that is soon needed again."""

from __future__ import annotations

import ctypes
from typing import Final

# From malloc.h of glibc. Musl has no mallopt and needs none of this.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_KEPT_BYTES: Final = 8 * 1024 * 1024
_MAPPED_BYTES: Final = 1024 * 1024


def keep_freed_memory() -> None:
    """Give memory back to the kernel only from 8 MB on.

    By default glibc gives back 128 KB already, so every read of a large body would take fresh
    pages from the kernel: strace showed three brk(2) calls for each body of 256 KB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
