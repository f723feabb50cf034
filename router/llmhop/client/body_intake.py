"""Receives a large body: stands in for the client's protocol while one comes in.

A protocol with buffers of its own lets the event loop read into the body, where the usual kind is
given a copy of each piece. After so many bytes others get their turn: uvloop would read on up to
32 times, and each piece is searched for the model.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from llmhop.http.body.large_body import PIECE_BYTES, LargeBody


class Client(Protocol):
    """The protocol that is stood in for."""

    transport: asyncio.Transport

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
    """A client's connection while a large body comes in."""

    __slots__ = ("_body", "_client", "_taken")

    def __init__(self, client: Client, body: LargeBody) -> None:
        self._client = client
        self._body = body
        self._taken = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the rest of the body's memory."""
        return self._body.space()

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of a piece of the body."""
        self._body.filled(nbytes)
        complete = self._body.complete
        self._taken += nbytes
        if self._taken >= PIECE_BYTES and not complete:
            self._taken = 0
            self._client.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._resume)
        self._client.body_received(nbytes, complete)

    def _resume(self) -> None:
        # Unless the client's own protocol is back, because the request was refused meanwhile.
        transport = self._client.transport
        if transport.get_protocol() is self and not transport.is_closing():
            transport.resume_reading()

    def eof_received(self) -> bool:
        """Tell the client's protocol."""
        return self._client.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the client's protocol."""
        self._client.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the client's protocol."""
        self._client.pause_writing()

    def resume_writing(self) -> None:
        """Tell the client's protocol."""
        self._client.resume_writing()
