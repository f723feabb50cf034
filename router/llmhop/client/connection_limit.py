"""A limit on the connections of clients to a process, and the rejection of those beyond it.

A slot is taken when a connection is accepted, and not when its TLS handshake is done: a protocol
whose handshake fails gets no callback, so its slot is released when it is garbage collected.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from sys import maxsize
from typing import Final, cast

from llmhop.config.findings import ConfigError, Finding
from llmhop.limits import CLIENT_DESCRIPTORS, LINGER_S, SPARE_DESCRIPTORS

LEAST_DESCRIPTORS: Final = SPARE_DESCRIPTORS + CLIENT_DESCRIPTORS
"""For one client."""


def take_descriptors() -> None:
    """Let this process, and those that it starts, open as many files as the limit allows.

    Raises ConfigError where these are too few.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LEAST_DESCRIPTORS:
        what = (
            f"allows {hard} open files, and llmhop needs {LEAST_DESCRIPTORS}: {SPARE_DESCRIPTORS} "
            f"of its own and {CLIENT_DESCRIPTORS} for each client"
        )
        raise ConfigError([Finding("LimitNOFILE", what, "raise it (in a shell: ulimit -n)")])
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_that_fit(wanted: int) -> int:
    """Return how many of `wanted` clients may come, as each may need a backend's connection too.

    So a client is never accepted without a descriptor to serve it with: see `backends_that_fit`.
    """
    return max(1, min(wanted, _descriptors() // CLIENT_DESCRIPTORS))


def backends_that_fit(clients: int) -> int:
    """Return how many connections to backends may be open beside so many clients."""
    return max(clients, _descriptors() - clients)


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return maxsize if soft == resource.RLIM_INFINITY else soft - SPARE_DESCRIPTORS


class ConnectionLimit:
    """Counts clients; `taken` may exceed a `limit` that was lowered."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    @property
    def full(self) -> bool:
        """Whether another client is too many."""
        return self.taken >= self.limit


class Slot:
    """One client's slot, until this object is freed."""

    __slots__ = ("_limit",)

    def __init__(self, limit: ConnectionLimit) -> None:
        self._limit = limit
        limit.taken += 1

    def __del__(self) -> None:
        self._limit.taken -= 1


class RejectedClient(asyncio.Protocol):
    """A client beyond the limit: it gets an error response, and the connection is closed.

    What it sends is discarded for a while, because closing at once would reset the connection
    under the response (RFC 9112 section 9.6). Of very many, the rest is closed at once.
    """

    transport: asyncio.Transport

    def __init__(
        self, response: bytes, others: set[RejectedClient], limit: ConnectionLimit
    ) -> None:
        """`others` holds all of them that are still open, `limit` says how many may be."""
        self._response = response
        self._others = others
        self._slot = None if limit.full else Slot(limit)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Respond."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._response)
        if self._slot is None:
            self.transport.close()
            return
        self._others.add(self)
        if self.transport.can_write_eof():  # not over TLS
            self.transport.write_eof()
        abort: Callable[[], None] = self.transport.abort
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be forgotten."""
        self._others.discard(self)
        self._slot = None
        if self._timer is not None:
            self._timer.cancel()
