"""Writes lines to a descriptor so that a slow reader, or none, never blocks the process.

A thread can wait for a reader; a process that forks has none, and writes only what is taken at
once. Neither makes the descriptor non-blocking: it is shared with a shell or with other processes,
for which it would be so too.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
import time
from contextlib import suppress
from typing import Final, Protocol

from llmhop.log.line_buffer import LineBuffer

_PIPE_BYTES: Final = 4096
"""PIPE_BUF on Linux: what is written at once stays in one piece among what others write."""

_PIECE_BYTES: Final = 16 * 1024
"""For what is no pipe. Files take any length in one piece, unix sockets as much as this."""


class LineWriter(Protocol):
    """Lines on their way to a descriptor. Nothing here blocks or raises, but for `close`."""

    def put(self, lines: bytes) -> None:
        """Take whole lines; what there is no room for is counted."""

    def flush(self) -> None:
        """Write what can be written now."""

    @property
    def waits(self) -> bool:
        """Whether something is not written yet."""

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was asked last."""

    def close(self, seconds: float) -> None:
        """Write what is waiting, for so long at most, and count the rest as dropped."""


class ThreadWriter:
    """Writes from a thread of its own. Implements LineWriter."""

    def __init__(self, descriptor: int, buffer: LineBuffer) -> None:
        self._descriptor = descriptor
        self._buffer = buffer
        self._changed = threading.Condition()  # guards what follows and the buffer
        self._thread: threading.Thread | None = None
        self._closing = False

    def put(self, lines: bytes) -> None:
        """Take whole lines; what there is no room for is counted."""
        with self._changed:
            self._buffer.put(lines)
            if self._closing:
                self._buffer.give_up()
            self._changed.notify()
            self._start()

    def flush(self) -> None:
        """Start the thread, where that was not possible yet."""
        with self._changed:
            if self._buffer.waiting_bytes:
                self._start()

    @property
    def waits(self) -> bool:
        """Whether something is not written yet."""
        return self._buffer.waiting_bytes > 0

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was asked last."""
        with self._changed:
            return self._buffer.take_dropped()

    def close(self, seconds: float) -> None:
        """Write what is waiting, for so long at most, and count the rest as dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._changed:
            self._buffer.give_up()

    def _start(self) -> None:
        if self._thread is None and not self._closing:
            thread = threading.Thread(target=self._run, name="lines", daemon=True)
            with suppress(RuntimeError):  # too many tasks; the next line tries again
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        size = _piece_bytes(self._descriptor)
        while piece := self._next(size):
            written = self._write(piece)
            with self._changed:
                if written is None:
                    self._buffer.failed()
                else:
                    self._buffer.written(written)

    def _next(self, size: int) -> bytes:
        """Wait for a piece; it is empty at the end."""
        with self._changed:
            while not (piece := self._buffer.piece(size)) and not self._closing:
                self._changed.wait()
            return piece

    def _write(self, piece: bytes) -> int | None:
        """Write from a piece and return how much; None where nobody will read it."""
        try:
            return os.write(self._descriptor, piece)
        except BlockingIOError:  # somebody made it non-blocking
            _wait_for(self._descriptor, None)
            return 0
        except OSError:
            return None


class DirectWriter:
    """Writes from where `put` and `flush` are called, what is taken at once.

    Opens nothing before there is something to write. Implements LineWriter.
    """

    def __init__(self, descriptor: int, buffer: LineBuffer) -> None:
        self._descriptor = descriptor
        self._outlet: _Outlet | None = None
        self._buffer = buffer

    def put(self, lines: bytes) -> None:
        """Take whole lines; what there is no room for is counted."""
        self._buffer.put(lines)
        self.flush()

    def flush(self) -> None:
        """Write what can be written now."""
        outlet = self._outlet
        if outlet is None:
            if not self.waits:
                return
            outlet = self._outlet = _Outlet(self._descriptor)
        while piece := self._buffer.piece(outlet.piece_bytes):
            try:
                self._buffer.written(outlet.write(piece))
            except BlockingIOError:
                return
            except OSError:  # nobody will read it
                self._buffer.failed()

    @property
    def waits(self) -> bool:
        """Whether something is not written yet."""
        return self._buffer.waiting_bytes > 0

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was asked last."""
        return self._buffer.take_dropped()

    def close(self, seconds: float) -> None:
        """Write what is waiting, for so long at most, and count the rest as dropped."""
        end = time.monotonic() + seconds
        self.flush()
        while self.waits and (left := end - time.monotonic()) > 0:
            _wait_for(self._descriptor, left)
            self.flush()
        self._buffer.give_up()

    def hand_over(self) -> LineBuffer:
        """Return what waits, for another writer; this one writes no more."""
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None
        return self._buffer


class Discard:
    """Stands in for a descriptor that is not there. Implements LineWriter."""

    waits = False

    def __init__(self) -> None:
        self._dropped = 0

    def put(self, lines: bytes) -> None:
        """Count lines."""
        self._dropped += lines.count(b"\n")

    def flush(self) -> None:
        """Do nothing."""

    def take_dropped(self) -> int:
        """Return how many lines came since this was asked last."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self, seconds: float) -> None:
        """Do nothing."""


class _Outlet:
    """Writes to a descriptor of others without waiting.

    Pipes and terminals are opened once more, so that being non-blocking is ours alone. Where that
    is not allowed, as for a pipe that another user made, poll says if there is room: that blocks
    only where another process takes the room in between.
    """

    def __init__(self, descriptor: int) -> None:
        self.piece_bytes = _piece_bytes(descriptor)
        self._descriptor = descriptor
        self._own: int | None = None
        self._socket: socket.socket | None = None
        with suppress(OSError):
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISSOCK(mode):
                self._socket = socket.socket(fileno=os.dup(descriptor))
            elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
                self._own = os.open(f"/proc/self/fd/{descriptor}", flags)

    def write(self, piece: bytes) -> int:
        """Write from a piece and return how much. Raises OSError, BlockingIOError for no room."""
        if self._socket is not None:
            return self._socket.send(piece, socket.MSG_DONTWAIT)
        if self._own is not None:
            return os.write(self._own, piece)
        if not _wait_for(self._descriptor, 0):
            raise BlockingIOError
        return os.write(self._descriptor, piece)

    def close(self) -> None:
        """Close what was opened here."""
        if self._socket is not None:
            self._socket.close()
        if self._own is not None:
            os.close(self._own)
        self._own = self._socket = None


def _wait_for(descriptor: int, seconds: float | None) -> bool:
    """Wait until something can be written, or an error would be told; answer whether it is so."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def _piece_bytes(descriptor: int) -> int:
    with suppress(OSError):
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return _PIECE_BYTES
    return _PIPE_BYTES
