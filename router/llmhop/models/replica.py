"""A model at one of its urls: the pool of connections, and whether this model is served there.

The health of a pool is that of its origin, for all models. An llmhop may be reachable and yet not
serve a model: its engine is down, or `apply` is replacing it. That is the health of the replica.
"""

from __future__ import annotations

import asyncio
from functools import partial

from llmhop.config.backend_url import BackendUrl
from llmhop.upstream.pool import Pool
from llmhop.upstream.probe import serves
from llmhop.upstream.recovery import Recovery


class Replica:
    """What a request of a model may be sent to. `health` is that of the model there."""

    __slots__ = ("_recovery", "health", "pool", "url")

    def __init__(
        self,
        model: str,
        url: BackendUrl,
        pool: Pool,
        pseudonym: bytes,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`pseudonym` is what llmhop calls itself in Via."""
        self.url = url
        self.pool = pool
        self._recovery = Recovery(partial(serves, url, model, pseudonym), loop)
        self.health = self._recovery.health

    @property
    def ejected(self) -> bool:
        """Whether requests go elsewhere, as long as they can."""
        return self.health.ejected or self.pool.health.ejected

    @property
    def probing(self) -> bool:
        """Whether it is being asked if it serves the model again."""
        return self._recovery.probing

    def seconds_left(self, now: float) -> float:
        """How long it will not be asked."""
        return max(self.health.seconds_left(now), self.pool.health.seconds_left(now))

    def unserved(self) -> None:
        """Note that an llmhop there could not serve the model."""
        self._recovery.failed()

    def sweep(self, now: float) -> None:
        """Ask whether the model is served there again, if that is due."""
        self._recovery.sweep(now)

    def retire(self) -> None:
        """Ask no more."""
        self._recovery.retire()
