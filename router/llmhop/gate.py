"""A limit on the requests that a model's backend has at once, with a queue before it. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol


class Waiting(Protocol):
    """A request that may have to wait."""

    def admitted(self) -> None:
        """It is its turn. Called once, and only after `wait` answered True."""


class Gate:
    """Lets in so many requests and has so many more wait, first in, first out.

    Outlives a reload, which changes its limits: what runs and what waits goes on.
    """

    __slots__ = ("_max_active", "_max_queued", "_queue", "active")

    active: int
    """How many requests were let in and have not left."""

    def __init__(self, max_active: int, max_queued: int) -> None:
        self.active = 0
        self._max_active = max_active
        self._max_queued = max_queued
        self._queue: OrderedDict[Waiting, None] = OrderedDict()

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    def enter(self) -> bool:
        """Let a request in if there is a place; it gives it back with `leave`."""
        if self.active >= self._max_active:
            return False
        self.active += 1
        return True

    def wait(self, request: Waiting) -> bool:
        """Have a request wait that could not enter, if the queue is not full.

        It is let in later, or gives up with `forget`.
        """
        if len(self._queue) >= self._max_queued:
            return False
        self._queue[request] = None
        return True

    def leave(self) -> None:
        """Give a place back: to who has waited longest."""
        self.active -= 1
        if self._queue:
            self._admit()

    def forget(self, request: Waiting) -> None:
        """Take out of the queue who no longer wants to wait."""
        del self._queue[request]

    def resize(self, max_active: int, max_queued: int) -> None:
        """Change the limits; who waits keeps its place, also in a queue that is too long now."""
        self._max_active = max_active
        self._max_queued = max_queued
        self._admit()

    def _admit(self) -> None:
        while self._queue and self.active < self._max_active:
            request, _ = self._queue.popitem(last=False)
            self.active += 1
            request.admitted()
