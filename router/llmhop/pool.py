"""Idle connections to backends, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from llmhop.connecting import connect
from llmhop.health import Health
from llmhop.upstream import UpstreamConnection
from llmhop.urls import Origin


class Pool:
    """The connections to one origin.

    Last in, first out: the busy part of a pool stays warm and the rest grows old and is closed.
    `outstanding` counts the requests that were given to this origin and are not done; who gives
    and takes them back is the exchange.
    """

    __slots__ = ("_idle", "_loop", "_retired", "health", "name", "origin", "outstanding")

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.name = str(origin)
        self._loop = loop
        self._idle: dict[UpstreamConnection, float] = {}
        self._retired = False
        self.health = Health()
        self.outstanding = 0

    def acquire(self) -> UpstreamConnection | None:
        """Return an idle connection that is still open, or None."""
        oldest = self._loop.time() - self.origin.idle_timeout
        while self._idle:
            connection, since = self._idle.popitem()
            if since >= oldest and connection.is_fresh():
                return connection
            connection.abort()
        return None

    def connect(self) -> asyncio.Task[UpstreamConnection]:
        """Open a new connection, see connecting.connect."""
        return self._loop.create_task(connect(self.origin, self.health, self._new))

    def close_idle(self, now: float) -> None:
        """Close the connections that were idle for too long at `now` (loop time)."""
        oldest = now - self.origin.idle_timeout
        for connection, since in list(self._idle.items()):
            if since >= oldest:
                break
            del self._idle[connection]
            connection.abort()

    def retire(self) -> None:
        """Close every idle connection, and from now on each that becomes idle."""
        self._retired = True
        while self._idle:
            connection, _ = self._idle.popitem()
            connection.abort()

    def _new(self) -> UpstreamConnection:
        return UpstreamConnection(self._keep, self._forget)

    def _keep(self, connection: UpstreamConnection) -> None:
        if self._retired:
            connection.abort()
        else:
            self._idle[connection] = self._loop.time()

    def _forget(self, connection: UpstreamConnection) -> None:
        self._idle.pop(connection, None)


class Pools:
    """A pool for every origin in the config; models on one origin share it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pools: dict[Origin, Pool] = {}

    def get(self, origin: Origin) -> Pool:
        """Return the pool of an origin.

        A request that a reload overtook may ask for one that is no longer served; it gets a pool
        that keeps nothing.
        """
        pool = self._pools.get(origin)
        if pool is None:
            pool = Pool(origin, self._loop)
            pool.retire()
        return pool

    def serve(self, origins: Iterable[Origin]) -> None:
        """Have a pool for each of `origins`, and retire the others."""
        wanted = set(origins)
        for origin in self._pools.keys() - wanted:
            self._pools.pop(origin).retire()
        for origin in wanted - self._pools.keys():
            self._pools[origin] = Pool(origin, self._loop)

    def close_idle(self, now: float) -> None:
        """Close what was idle for too long, in every pool."""
        for pool in self._pools.values():
            pool.close_idle(now)
