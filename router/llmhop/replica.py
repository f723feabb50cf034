"""A model at one of its urls: the pool of connections, and whether this model is served there.

What a pool knows is of the origin, whatever the model. An llmhop may be reached and yet not serve
a model: its engine is down, or `apply` is replacing it. This is known for the model alone.
"""

from __future__ import annotations

import asyncio

from llmhop.health import Health
from llmhop.pool import Pool
from llmhop.probe import serves
from llmhop.urls import BackendUrl


class Replica:
    """What a request of a model may be sent to. `health` is that of the model there."""

    __slots__ = ("_loop", "_model", "_probe", "_pseudonym", "_retired", "health", "pool", "url")

    def __init__(
        self,
        model: str,
        url: BackendUrl,
        pool: Pool,
        pseudonym: bytes,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`pseudonym` is what llmhop calls itself in Via."""
        self._model = model
        self._pseudonym = pseudonym
        self._loop = loop
        self._probe: asyncio.Task[bool] | None = None
        self._retired = False
        self.url = url
        self.pool = pool
        self.health = Health()

    @property
    def aside(self) -> bool:
        """Whether requests go elsewhere, as long as they can."""
        return self.health.aside or self.pool.health.aside

    @property
    def probing(self) -> bool:
        """Whether it is being asked if it serves the model again."""
        return self._probe is not None

    def seconds_left(self, now: float) -> float:
        """How long it will not be asked."""
        return max(self.health.seconds_left(now), self.pool.health.seconds_left(now))

    def unserved(self) -> None:
        """Note that an llmhop there could not serve the model."""
        self.health.failed(self._loop.time())

    def sweep(self, now: float) -> None:
        """Ask whether the model is served there again, if that is due."""
        if self._probe is None and not self._retired and self.health.probe_due(now):
            question = serves(self.url, self._model, self._pseudonym)
            self._probe = probe = self._loop.create_task(question)
            probe.add_done_callback(self._probed)

    def retire(self) -> None:
        """Ask no more."""
        self._retired = True
        if self._probe is not None:
            self._probe.cancel()

    def _probed(self, probe: asyncio.Task[bool]) -> None:
        self._probe = None
        if probe.cancelled() or not self.health.aside:
            return
        if probe.exception() is None and probe.result():
            self.health.succeeded()
        else:
            self.unserved()
