"""Receives a large body: replaces the client's protocol while one is read.

An asyncio.BufferedProtocol lets the event loop read straight into the body, where asyncio.Protocol
gets a copy of each piece. After PIECE_BYTES reading pauses for other clients: uvloop would read on
up to 32 times, and each piece is searched for the model. Where the current pass of the event loop
has used up its time, a piece is searched in a later one.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from llmhop.client.work_queue import WorkQueue
from llmhop.http.body.large_body import PIECE_BYTES, LargeBody

_LITTLE_BYTES: Final = 64 * 1024
"""As much is read where it has to wait."""


class Client(Protocol):
    """The protocol that is replaced for a while."""

    transport: asyncio.Transport

    def defer_reading(self) -> None:
        """Read no more for now: what came waits for another pass of the event loop."""

    def resume_deferred(self) -> None:
        """Read on: that pass has come."""

    def body_received(self, count: int, complete: bool) -> None:
        """A piece of `count` bytes came; with `complete`, the last one."""

    def eof_received(self) -> bool:
        """The client closed its half; answers whether the other one stays open."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client's connection is closed."""

    def pause_writing(self) -> None:
        """The client reads slower than it is written to."""

    def resume_writing(self) -> None:
        """The client has caught up."""


class BodyIntake(asyncio.BufferedProtocol):
    """The protocol of a client's connection while a large body is read."""

    __slots__ = ("_body", "_taken", "_unread", "_work", "client")

    def __init__(self, client: Client, body: LargeBody, work: WorkQueue) -> None:
        self.client = client
        self._body = body
        self._work = work
        self._taken = 0
        self._unread = 0  # so many bytes are in the body's memory, for another pass to look at

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the rest of the body's memory."""
        space = self._body.space()
        return space[:_LITTLE_BYTES] if self._work.is_full else space

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of a piece of the body, now or in another pass."""
        if self._work.is_full:
            self._unread = nbytes
            self.client.defer_reading()
            self._work.put(self._take_unread)
        else:
            began = self._work.clock()
            self._fill(nbytes)
            self._work.spend(self._work.clock() - began)

    def _take_unread(self) -> None:
        nbytes, self._unread = self._unread, 0
        if nbytes and self._is_there():
            self.client.resume_deferred()
            self._fill(nbytes)

    def _fill(self, nbytes: int) -> None:
        self._body.filled(nbytes)
        complete = self._body.complete
        self._taken += nbytes
        if self._taken >= PIECE_BYTES and not complete:
            self._taken = 0
            self.client.transport.pause_reading()
            self._work.put(self._resume)
        self.client.body_received(nbytes, complete)

    def _resume(self) -> None:
        if self._is_there():
            self.client.transport.resume_reading()

    def _is_there(self) -> bool:
        # Unless the client's own protocol is back, because the request was refused meanwhile.
        transport = self.client.transport
        return transport.get_protocol() is self and not transport.is_closing()

    def eof_received(self) -> bool:
        """Forward to the client's protocol."""
        self._take_unread()
        return self.client.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forward to the client's protocol."""
        self.client.connection_lost(exc)

    def pause_writing(self) -> None:
        """Forward to the client's protocol."""
        self.client.pause_writing()

    def resume_writing(self) -> None:
        """Forward to the client's protocol."""
        self.client.resume_writing()
