"""A periodic timer that only `stop` ends, whatever its steps raise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llmhop.log.faults import attempt


class Timer:
    """Takes a step every `seconds`. Where it fails, that is logged as a fault of `what`."""

    def __init__(self, seconds: float, what: str, step: Callable[[], object]) -> None:
        self._seconds = seconds
        self._what = what
        self._step = step
        self._next: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the first step now."""
        self._next = loop.call_later(self._seconds, self.start, loop)
        attempt(self._what, self._step)

    def stop(self) -> None:
        """Take no more steps."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
