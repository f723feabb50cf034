"""Writes lines to a descriptor from a thread, so that a slow reader never holds the rest up.

A descriptor that others share can't be made non-blocking, as that would be so for them too.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Final

MAX_WAITING_BYTES: Final = 4 * 1024 * 1024

_PIPE_BYTES: Final = 4096
"""PIPE_BUF on Linux: what is written at once stays in one piece among what others write."""

_PIECE_BYTES: Final = 16 * 1024
"""For what is no pipe. Files take any length in one piece, unix sockets as much as this."""


class LineWriter:
    """Lines on their way to one descriptor. All but the writing itself is for one thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._piece_bytes = _PIPE_BYTES
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # Each has one thread that changes it.
        self._put_bytes = 0
        self._written_bytes = 0

    def put(self, lines: bytes) -> bool:
        """Take whole lines; answer False, and take none, where too much is waiting."""
        waiting = self._put_bytes - self._written_bytes
        if waiting and waiting + len(lines) > MAX_WAITING_BYTES:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
        self._put_bytes += len(lines)
        self._queue.put(lines)
        return True

    def close(self, seconds: float) -> None:
        """Write what is waiting, for so long at most."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(seconds)

    def _run(self) -> None:
        with suppress(OSError):  # nobody will read it
            if not stat.S_ISFIFO(os.fstat(self._descriptor).st_mode):
                self._piece_bytes = _PIECE_BYTES
        while (lines := self._queue.get()) is not None:
            self._write(lines)
            self._written_bytes += len(lines)

    def _write(self, lines: bytes) -> None:
        start = 0
        while start < len(lines):
            end = lines.rfind(b"\n", start, start + self._piece_bytes) + 1
            try:
                start += os.write(self._descriptor, lines[start : end or start + self._piece_bytes])
            except BlockingIOError:  # somebody made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError:  # nobody will read it
                return
