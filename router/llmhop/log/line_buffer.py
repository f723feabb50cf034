"""Lines that wait to be written, up to a size; dropped ones are reported.

Lines that do not fit, or can't be written, are counted; the next ones to be written begin with a
line that says how many are missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

MAX_WAITING_BYTES: Final = 4 * 1024 * 1024


class LineBuffer:
    """First in, first out. The writer takes a `piece` and then reports how much was written."""

    def __init__(self, tell: Callable[[int], bytes]) -> None:
        """`tell` makes the line that says how many are missing."""
        self._tell = tell
        self._items: deque[tuple[bytes, int]] = deque()  # lines; of how many missing ones they tell
        self._start = 0  # how much of the first item was written
        self._torn = False
        self._dropped = 0
        self._untold = 0
        self.waiting_bytes = 0

    def put(self, lines: bytes) -> None:
        """Take whole lines, or count them where too much is waiting."""
        if not lines:
            return
        if self._items and self.waiting_bytes + len(lines) > MAX_WAITING_BYTES:
            self._drop(lines.count(b"\n"))
            return
        if self._untold:
            untold, self._untold = self._untold, 0
            self._append(self._tell(untold), untold)
        self._append(lines, 0)

    def piece(self, size: int) -> bytes:
        """Return what to write next: lines of up to `size` bytes, or a part of a longer one.

        Empty where nothing waits. After a line that was torn it begins with the end of that.
        """
        if not self._items:
            return b""
        lines, start = self._items[0][0], self._start
        end = lines.rfind(b"\n", start, start + size) + 1
        piece = lines[start : end or start + size]
        return b"\n" + piece if self._torn else piece

    def written(self, count: int) -> None:
        """So many bytes of the piece were written."""
        if not self._items:  # given up meanwhile
            return
        if self._torn and count:
            self._torn = False
            count -= 1
        self._start += count
        self.waiting_bytes -= count
        if self._start >= len(self._items[0][0]):
            self._items.popleft()
            self._start = 0

    def failed(self) -> None:
        """The piece can't be written: count it, and all that was put together with it."""
        if not self._items:
            return
        lines, told = self._items.popleft()
        start, self._start = self._start, 0
        self.waiting_bytes -= len(lines) - start
        if start > 0 and lines[start - 1] != ord("\n"):
            self._torn = True
            if lines[start] == ord("\n"):  # it needs only the end that it will get
                start += 1
        if not told:
            self._drop(lines.count(b"\n", start))
        elif start < len(lines):
            self._untold += told

    def give_up(self) -> None:
        """Nobody will write what waits: count it."""
        while self._items:
            self.failed()

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was asked last."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _append(self, lines: bytes, told: int) -> None:
        self._items.append((lines, told))
        self.waiting_bytes += len(lines)

    def _drop(self, count: int) -> None:
        self._dropped += count
        self._untold += count
