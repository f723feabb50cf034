"""Active health checks: an ejected backend is probed now and then, until it answers again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from llmhop.log.faults import log_fault
from llmhop.upstream.health import Health

Probe = Callable[[], Coroutine[Any, Any, bool]]
"""Returns whether it answers again. An exception is a fault of llmhop's own, and means no."""


class Recovery:
    """The health of an origin, or of a model there, and the probe that brings it back."""

    __slots__ = ("_loop", "_make_probe", "_probe", "_retired", "health")

    def __init__(self, make_probe: Probe, loop: asyncio.AbstractEventLoop) -> None:
        self._make_probe = make_probe
        self._loop = loop
        self._probe: asyncio.Task[bool] | None = None
        self._retired = False
        self.health = Health()

    @property
    def probing(self) -> bool:
        """Whether a probe runs."""
        return self._probe is not None

    def failed(self) -> None:
        """Note a failure, now."""
        self.health.failed(self._loop.time())

    def sweep(self, now: float) -> None:
        """Start a probe, if that is due at `now` (loop time)."""
        if self._probe is None and not self._retired and self.health.probe_due(now):
            self._probe = probe = self._loop.create_task(self._make_probe())
            probe.add_done_callback(self._probed)

    def retire(self) -> None:
        """Probe no more."""
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
