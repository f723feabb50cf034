"""The connections to an origin: the idle ones, those being made, and what is known of it.

An attempt to connect belongs to the pool and not to the request that asked for it. A client that
leaves ends neither: the next request takes it over, and if nobody does, what it finds out about
the origin counts all the same. So there are never more attempts than there were requests waiting
at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from llmhop.connecting import connect
from llmhop.faults import attempt_each, log_fault
from llmhop.probe import answers
from llmhop.recovery import Recovery
from llmhop.upstream import Keeper, UpstreamConnection
from llmhop.urls import Origin


class ConnectionWaiter(Protocol):
    """A request that waits for a connection. It is called once, or not at all after `abandon`."""

    __slots__ = ()

    def connected(self, connection: UpstreamConnection) -> None:
        """The connection is made, and for this request."""

    def connect_failed(self, reason: str, kind: str) -> None:
        """The origin can't be reached; `kind` is one of metric_cells.FAILURES."""

    def connect_broken(self, error: BaseException) -> None:
        """A fault of llmhop's own kept it from being made."""


class Attempt:
    """A connection that is being made, for a request that waits for it or for none."""

    __slots__ = ("_pool", "task", "waiter")

    task: asyncio.Task[UpstreamConnection]

    def __init__(self, pool: Pool, waiter: ConnectionWaiter) -> None:
        self._pool = pool
        self.waiter: ConnectionWaiter | None = waiter

    def abandon(self) -> None:
        """Let it go on for whoever comes next."""
        self.waiter = None
        self._pool.attempt_abandoned(self)

    def done(self, task: asyncio.Task[UpstreamConnection]) -> None:
        """Report how it ended; called by its task."""
        waiter, self.waiter = self.waiter, None
        self._pool.attempt_done(self, task, waiter)


class Pool(Keeper):
    """The connections to one origin.

    Last in, first out: the busy part of a pool stays warm and the rest grows old and is closed.
    `outstanding` counts the requests that were given to this origin and are not done; who gives
    and takes them back is the exchange.
    """

    __slots__ = (
        "_abandoned",
        "_idle",
        "_loop",
        "_recovery",
        "_retired",
        "health",
        "name",
        "origin",
        "outstanding",
    )

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.name = str(origin)
        self._loop = loop
        self._idle: dict[UpstreamConnection, float] = {}
        self._abandoned: dict[Attempt, None] = {}
        self._retired = False
        self._recovery = Recovery(partial(answers, origin), loop)
        self.health = self._recovery.health
        self.outstanding = 0

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    @property
    def probing(self) -> bool:
        """Whether the origin is being asked if it answers again."""
        return self._recovery.probing

    def acquire(self) -> UpstreamConnection | None:
        """Return an idle connection that is still open, or None."""
        oldest = self._loop.time() - self.origin.idle_timeout
        while self._idle:
            connection, since = self._idle.popitem()
            if since >= oldest and connection.is_usable():
                return connection
            connection.abort()
        return None

    def connect(self, waiter: ConnectionWaiter) -> Attempt:
        """Open a connection for a request, or give it one that is being made for nobody."""
        if self._abandoned:
            attempt = next(iter(self._abandoned))  # the one that began first
            del self._abandoned[attempt]
            attempt.waiter = waiter
            return attempt
        attempt = Attempt(self, waiter)
        attempt.task = self._loop.create_task(connect(self.origin, self._new))
        attempt.task.add_done_callback(attempt.done)
        return attempt

    def sweep(self, now: float) -> None:
        """Close connections that were idle for too long, and ask an origin that is set aside."""
        oldest = now - self.origin.idle_timeout
        for connection, since in list(self._idle.items()):
            if since >= oldest:
                break
            del self._idle[connection]
            connection.abort()
        self._recovery.sweep(now)

    def retire(self) -> None:
        """Close every idle connection, and from now on each that becomes idle."""
        self._retired = True
        while self._idle:
            connection, _ = self._idle.popitem()
            connection.abort()
        while self._abandoned:
            attempt, _ = self._abandoned.popitem()
            attempt.task.cancel()
        self._recovery.retire()

    # What attempts and connections report.

    def attempt_abandoned(self, attempt: Attempt) -> None:
        """Keep an attempt for the next request."""
        if self._retired:
            attempt.task.cancel()
        else:
            self._abandoned[attempt] = None

    def attempt_done(
        self,
        attempt: Attempt,
        task: asyncio.Task[UpstreamConnection],
        waiter: ConnectionWaiter | None,
    ) -> None:
        """Hand a connection to who waits for it, or keep it; note a failure."""
        self._abandoned.pop(attempt, None)
        if task.cancelled():
            return  # the pool is retired, or the loop ends
        error = task.exception()
        if error is None:
            connection = task.result()
            if not connection.is_open():
                self._unreached(waiter, "closed the connection at once", "connect")
            elif waiter is not None:
                waiter.connected(connection)
            else:
                self.connection_idle(connection)
        elif isinstance(error, TimeoutError):
            self._unreached(waiter, "can't be reached (timed out)", "connect_timeout")
        elif isinstance(error, OSError | UnicodeError):
            self._unreached(waiter, f"can't be reached ({error})", "connect")
        elif waiter is not None:
            waiter.connect_broken(error)
        else:
            log_fault("connecting to a backend for the next request", error)

    def connection_idle(self, connection: UpstreamConnection) -> None:
        """Keep a connection that can take another request."""
        if self._retired:
            connection.abort()
        else:
            self._idle[connection] = self._loop.time()

    def connection_lost(self, connection: UpstreamConnection) -> None:
        """Forget a connection that is closed."""
        self._idle.pop(connection, None)

    def connection_proved(self) -> None:
        """The origin answers."""
        if self.health.aside:
            self.health.succeeded()

    def connection_failed(self) -> None:
        """The origin gave no answer where one was due."""
        self._recovery.failed()

    def _unreached(self, waiter: ConnectionWaiter | None, reason: str, kind: str) -> None:
        self.connection_failed()
        if waiter is not None:
            waiter.connect_failed(reason, kind)

    def _new(self) -> UpstreamConnection:
        return UpstreamConnection(self)


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

    def sweep(self, now: float) -> None:
        """Do what is due in every pool at `now` (loop time)."""
        pools = list(self._pools.values())
        attempt_each("the sweep of a pool", pools, lambda pool: pool.sweep(now))
