"""Shares the event loop among the clients, so that a burst of input delays nothing else.

The event loop reads every connection that has bytes before it serves timers and backends
again. What thousands of clients send can take a minute to read, so a pass does a share of that
work, and the rest waits for the next passes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from llmhop.limits import MAX_PASS_S


class WorkQueue:
    """Work that waits for another pass of the event loop.

    Each pass begins with what waits, light work before other work, of which each has half of a
    pass at least where there is so much. Within a kind, first in is first out.

    `clock` gives seconds. Code that works outside of the queue measures by it and calls `spend`.
    """

    __slots__ = ("_call_soon", "_is_due", "_left", "_light", "_other", "clock")

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], clock: Callable[[], float]
    ) -> None:
        """`call_soon` has the event loop call something in its next pass."""
        self._call_soon = call_soon
        self.clock = clock
        self._left = MAX_PASS_S
        self._is_due = False
        self._light: deque[Callable[[], None]] = deque()
        self._other: deque[Callable[[], None]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether this pass has done its share, so that more work is to be put here."""
        return self._left <= 0

    def spend(self, seconds: float) -> None:
        """Count work that was done in this pass."""
        self._left -= seconds
        if self._left <= 0:
            self._begin_soon()

    def put(self, job: Callable[[], None], *, light: bool = False) -> None:
        """Have a job done in the next pass, or in one of those that follow."""
        (self._light if light else self._other).append(job)
        self._begin_soon()

    def _begin_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._call_soon(self._begin)

    def _begin(self) -> None:
        """Begin a pass."""
        self._is_due = False
        self._left = MAX_PASS_S
        # What is put here meanwhile is for another pass.
        light, other = len(self._light), len(self._other)
        try:
            light -= self._do(self._light, light, MAX_PASS_S / 2)
            self._do(self._other, other, 0)
            self._do(self._light, light, 0)
        finally:
            if self._left <= 0 or self._light or self._other:
                self._begin_soon()

    def _do(self, jobs: deque[Callable[[], None]], count: int, left: float) -> int:
        """Do so many jobs at most, while more than `left` is left of the pass; return how many."""
        done = 0
        began = self.clock()
        while done < count and self._left > left:
            done += 1
            jobs.popleft()()
            ended = self.clock()
            self._left -= ended - began
            began = ended
        return done
