"""The log: plain lines on standard error, which systemd's journal dates and keeps.

Nothing here blocks or raises, whatever standard error is: a pipe that nobody reads, or nothing at
all. It is one for the whole process, as its descriptor is.
"""

from __future__ import annotations

import io
import math
import sys
import threading
import time
from typing import Final, cast

from llmhop.log.line_buffer import LineBuffer
from llmhop.log.line_writer import DirectWriter, Discard, LineWriter, ThreadWriter
from llmhop.log.printable import printable
from llmhop.log.rate_limit import RateLimit

CLOSE_S: Final = 1.0
"""For how many seconds a process that ends waits for the reader of its log."""

_STDERR: Final = 2

_MAX_LINE_BYTES: Final = 4000
"""With what stands around it, a line stays within what a pipe takes in one piece."""


class Log:
    """Lines on their way to standard error, at first written directly (see `to_thread`).

    Any thread may write.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a destructor's warning may come while another is written
        self._rate_limit = RateLimit()
        self._writer = _direct_writer()
        self._dropped = 0  # by a writer that is closed

    def write(self, message: str, detail: str = "") -> None:
        """Say a message, which is left out where it was said often in the last seconds.

        `detail` stands behind it and is not looked at for that.
        """
        with self._lock:
            now = time.monotonic()
            self._say_left_out(now)
            if self._rate_limit.admit(message, now):
                self._say(message + detail)

    def write_plain(self, text: str) -> None:
        """Say lines that begin with no name, whatever was said before."""
        with self._lock:
            self._writer.put(_encoded(text))

    def sweep(self) -> None:
        """Say how much was left out, and go on writing; to be called every second or so."""
        with self._lock:
            self._say_left_out(time.monotonic())
            self._writer.flush()

    @property
    def waits(self) -> bool:
        """Whether `sweep` has something to do, now or later."""
        return self._writer.waits or self._rate_limit.waits

    def take_dropped(self) -> int:
        """Return how many lines nobody took since this was asked last."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped + self._writer.take_dropped()

    def to_thread(self) -> None:
        """Write from a thread from now on: for a process that has an event loop."""
        with self._lock:
            if isinstance(self._writer, DirectWriter):
                self._writer = ThreadWriter(_STDERR, self._writer.hand_over())

    def forked(self) -> None:
        """Begin anew in a process that was forked: what waits is for the other one to write."""
        if isinstance(self._writer, DirectWriter):
            self._writer.hand_over()
        self._writer = _direct_writer()
        self._rate_limit = RateLimit()

    def close(self, seconds: float = CLOSE_S) -> None:
        """Write all that waits, for so long at most. What comes later is written directly."""
        with self._lock:
            self._say_left_out(math.inf)
            self._writer.close(seconds)
            if isinstance(self._writer, ThreadWriter):
                self._dropped += self._writer.take_dropped()
                self._writer = _direct_writer()

    def _say(self, message: str) -> None:
        self._writer.put(_encoded(f"llmhop: {message}"))

    def _say_left_out(self, now: float) -> None:
        for message in self._rate_limit.take_over(now):
            self._say(message)


class _Stream(io.TextIOBase):
    """Stands in for sys.stderr, to which Python writes warnings and what went wrong in it."""

    def __init__(self) -> None:
        self._line = ""

    def writable(self) -> bool:
        """Be a stream to write to."""
        return True

    def write(self, text: str) -> int:
        """Log what ends with a line's end."""
        self._line += text
        lines, end, rest = self._line.rpartition("\n")
        self._line = rest[:_MAX_LINE_BYTES]
        if end:
            log(lines)
        return len(text)


def take_stderr() -> None:
    """Have the log take what Python writes to sys.stderr, where it could block as well."""
    sys.stderr = cast(io.TextIOWrapper, _Stream())


def _direct_writer() -> LineWriter:
    # Without a standard error, its number may be that of any file.
    if sys.__stderr__ is None:
        return Discard()
    return DirectWriter(_STDERR, LineBuffer(_missing))


def _missing(count: int) -> bytes:
    return f"llmhop: {count} lines of the log are missing here\n".encode()


def _encoded(text: str) -> bytes:
    lines = printable(text).encode().split(b"\n")
    return b"".join(
        line + b"\n" if len(line) <= _MAX_LINE_BYTES else line[:_MAX_LINE_BYTES] + b"...\n"
        for line in lines
    )


LOG: Final = Log()


def log(message: str, detail: str = "") -> None:
    """Write a message; see Log.write. It holds no bodies and no secrets."""
    LOG.write(message, detail)
