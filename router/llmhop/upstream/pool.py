"""The connections to an origin: the idle ones, those being made, and what is known of it.

An attempt to connect belongs to the pool and not to the request that asked for it. A client that
leaves ends neither: the next request takes it over while it is young, and if nobody does, what it
finds out about the origin counts all the same. An older one may have been lost on the way, and has
less time left than a request may take.

What no request needs, idle connections and such attempts, takes no descriptor that one needs: where
`Pools.limit` is reached, the oldest of it is closed, whatever its origin.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from sys import maxsize
from typing import Final, Protocol

from llmhop.config.backend_url import Origin
from llmhop.limits import YOUNG_ATTEMPT_S
from llmhop.log.faults import attempt_each, log_fault
from llmhop.upstream.connect import connect
from llmhop.upstream.connection import Keeper, UpstreamConnection
from llmhop.upstream.probe import answers
from llmhop.upstream.recovery import Recovery

_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What connect(2) and socket(2) fail with for want of something here."""


class ConnectionWaiter(Protocol):
    """A request that waits for a connection. It is called once, or not at all after `abandon`."""

    __slots__ = ()

    def connected(self, connection: UpstreamConnection) -> None:
        """The connection is made, and for this request."""

    def connect_failed(self, reason: str, kind: str) -> None:
        """The origin can't be reached; `kind` is one of metric_layout.FAILURES."""

    def connect_short(self, reason: str) -> None:
        """This host has no descriptor or memory left for it, which says nothing of the origin."""

    def connect_broken(self, error: BaseException) -> None:
        """A fault of llmhop's own kept it from being made."""


class Attempt:
    """A connection that is being made, for a request that waits for it or for none."""

    __slots__ = ("_pool", "began", "task", "waiter")

    task: asyncio.Task[UpstreamConnection]

    def __init__(self, pool: Pool, waiter: ConnectionWaiter, now: float) -> None:
        self._pool = pool
        self.began = now
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
    `outstanding` counts the requests that this origin has and are not done, by the exchanges.
    """

    __slots__ = (
        "_abandoned",
        "_idle",
        "_loop",
        "_make_room",
        "_recovery",
        "_retired",
        "health",
        "name",
        "origin",
        "outstanding",
    )

    def __init__(
        self,
        origin: Origin,
        loop: asyncio.AbstractEventLoop,
        make_room: Callable[[Pool], None],
    ) -> None:
        """`make_room` is called before another connection is opened here."""
        self.origin = origin
        self._make_room = make_room
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
    def kept(self) -> int:
        """How many descriptors are taken by what no request needs."""
        return len(self._idle) + len(self._abandoned)

    @property
    def oldest_kept(self) -> float:
        """Since when the oldest of that is kept (loop time); infinite where there is none."""
        idle = next(iter(self._idle.values()), inf)
        abandoned = next(iter(self._abandoned), None)
        return idle if abandoned is None else min(idle, abandoned.began)

    @property
    def probing(self) -> bool:
        """Whether a probe of the origin runs."""
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
        now = self._loop.time()
        if self._abandoned:
            last = next(reversed(self._abandoned))
            if now - last.began <= YOUNG_ATTEMPT_S:
                del self._abandoned[last]
                last.waiter = waiter
                return last
        self._make_room(self)
        attempt = Attempt(self, waiter, now)
        attempt.task = self._loop.create_task(connect(self.origin, self._new))
        attempt.task.add_done_callback(attempt.done)
        return attempt

    def sweep(self, now: float) -> None:
        """Close connections that were idle for too long, and probe an ejected origin."""
        oldest = now - self.origin.idle_timeout
        for connection, since in list(self._idle.items()):
            if since >= oldest:
                break
            del self._idle[connection]
            connection.abort()
        self._recovery.sweep(now)

    def close_oldest(self) -> None:
        """Close the oldest of what no request needs. There has to be some."""
        oldest = self.oldest_kept
        if self._idle and next(iter(self._idle.values())) <= oldest:
            connection = next(iter(self._idle))
            del self._idle[connection]
            connection.abort()
        else:
            attempt = next(iter(self._abandoned))
            del self._abandoned[attempt]
            attempt.task.cancel()

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
        """Hand a connection to its waiter, or keep it; note a failure."""
        self._abandoned.pop(attempt, None)
        if task.cancelled():
            return  # the pool is retired, or the loop ends
        error = task.exception()
        if error is None:
            connection = task.result()
            if not connection.is_open():
                if connection.is_silent():
                    self._unreached(waiter, "closed the connection at once", "connect")
                else:
                    self._unreached(waiter, "sent bytes before it was asked", "invalid_response")
            elif waiter is not None:
                waiter.connected(connection)
            else:
                self.connection_idle(connection)
        elif isinstance(error, TimeoutError):
            self._unreached(waiter, "can't be reached (timed out)", "connect_timeout")
        elif isinstance(error, ssl.SSLCertVerificationError):
            why = error.verify_message.rstrip(".")
            self._unreached(waiter, f"has a certificate that is not trusted ({why})", "certificate")
        elif isinstance(error, OSError) and error.errno in _SHORTAGES:
            if waiter is not None:
                waiter.connect_short(str(error))
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
        if self.health.ejected:
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
    """A pool for every origin in the config; models on one origin share it.

    `limit` says how many connections to backends there may be in all. Requests are given one
    whatever it says; there are never more of them than clients.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.limit = maxsize
        self._loop = loop
        self._pools: dict[Origin, Pool] = {}
        self._unserved: list[Pool] = []  # some of whose requests are still in flight

    def get(self, origin: Origin) -> Pool:
        """Return the pool of an origin.

        A request that a reload overtook may ask for one that is no longer served; it gets a pool
        that keeps nothing.
        """
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._new(origin)
            self._retire(pool)
        return pool

    def serve(self, origins: Iterable[Origin]) -> None:
        """Have a pool for each of `origins`, and retire the others."""
        wanted = set(origins)
        for origin in self._pools.keys() - wanted:
            self._retire(self._pools.pop(origin))
        for origin in wanted - self._pools.keys():
            self._pools[origin] = self._new(origin)

    def sweep(self, now: float) -> None:
        """Do what is due in every pool at `now` (loop time)."""
        self._unserved = [pool for pool in self._unserved if pool.outstanding]
        pools = list(self._pools.values())
        attempt_each("the sweep of a pool", pools, lambda pool: pool.sweep(now))

    def _new(self, origin: Origin) -> Pool:
        return Pool(origin, self._loop, self._make_room)

    def _retire(self, pool: Pool) -> None:
        pool.retire()
        self._unserved.append(pool)

    def _make_room(self, pool: Pool) -> None:
        """Close what is kept beyond the limit; the request that connects is counted already."""
        if pool is not self._pools.get(pool.origin) and pool not in self._unserved:
            self._unserved.append(pool)
        pools = self._pools.values()
        taken = sum(pool.outstanding + pool.kept for pool in pools)
        taken += sum(pool.outstanding for pool in self._unserved)
        kept = [pool for pool in pools if pool.kept] if taken > self.limit else []
        while kept and taken > self.limit:
            oldest = min(kept, key=lambda pool: pool.oldest_kept)
            oldest.close_oldest()
            taken -= 1
            if not oldest.kept:
                kept.remove(oldest)
