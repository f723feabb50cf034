"""What failed and is ejected is asked now and then, until it answers again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from llmhop.log.faults import log_fault
from llmhop.upstream.health import Health

Question = Callable[[], Coroutine[Any, Any, bool]]
"""Asks whether it answers again. An exception is a fault of llmhop's own, and means no."""


class Recovery:
    """The health of an origin, or of a model there, and the question that brings it back."""

    __slots__ = ("_loop", "_probe", "_question", "_retired", "health")

    def __init__(self, question: Question, loop: asyncio.AbstractEventLoop) -> None:
        self._question = question
        self._loop = loop
        self._probe: asyncio.Task[bool] | None = None
        self._retired = False
        self.health = Health()

    @property
    def probing(self) -> bool:
        """Whether it is being asked."""
        return self._probe is not None

    def failed(self) -> None:
        """Note a failure, now."""
        self.health.failed(self._loop.time())

    def sweep(self, now: float) -> None:
        """Ask, if that is due at `now` (loop time)."""
        if self._probe is None and not self._retired and self.health.probe_due(now):
            self._probe = probe = self._loop.create_task(self._question())
            probe.add_done_callback(self._probed)

    def retire(self) -> None:
        """Ask no more."""
        self._retired = True
        if self._probe is not None:
            self._probe.cancel()

    def _probed(self, probe: asyncio.Task[bool]) -> None:
        self._probe = None
        if probe.cancelled():
            return
        error = probe.exception()
        if error is not None:
            log_fault("a question whether a backend answers again", error)
        if not self.health.ejected:
            return
        if error is None and probe.result():
            self.health.succeeded()
        else:
            self.failed()
