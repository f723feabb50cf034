"""A client's connection, whatever is sent on it: its deadline, its pauses, and how it ends."""

from __future__ import annotations

import asyncio
import math
import select
import socket
import struct
from collections.abc import Callable
from typing import Protocol, cast

from llmhop import limits
from llmhop.backends import Backends
from llmhop.body_stream import FormStream, WebSocketStream
from llmhop.connection_memo import ConnectionMemo
from llmhop.errors import ApiError, BadRequestError
from llmhop.exchange import Exchange
from llmhop.http_head import RequestHead
from llmhop.local_response import Page, error_page, render
from llmhop.observer import Observer
from llmhop.readiness import Readiness
from llmhop.request_reader import RequestReader
from llmhop.routing import Table

# For SO_LINGER: closing sends a reset, or what closing usually does.
_RESETS = struct.pack("ii", 1, 0)
_CLOSES = struct.pack("ii", 0, 0)


class Router(Protocol):
    """What the connections share. `now` is loop time, as of the last sweep."""

    table: Table
    backends: Backends
    readiness: Readiness
    observer: Observer
    draining: bool
    now: float

    async def metrics_page(self) -> Page:
        """Return the page for Prometheus."""

    def client_came(self, client: ClientConnection) -> None:
        """A client connected."""

    def client_went(self, client: ClientConnection) -> None:
        """A client's connection is closed."""


class ClientConnection(asyncio.Protocol):
    """What ClientProtocol stands on. `transport` and `write` are there once it was connected."""

    __slots__ = (
        "_deadline",
        "_exchange",
        "_head",
        "_is_new",
        "_lingering",
        "_memo",
        "_paused",
        "_reader",
        "_router",
        "_stream",
        "_unmarked",
        "_unsent",
        "_write_paused",
        "record",
        "transport",
        "write",
    )

    transport: asyncio.Transport
    write: Callable[[bytes], None]
    """Sends bytes to the client."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._memo = ConnectionMemo(router.table)
        self._reader = RequestReader()
        self._head: RequestHead | None = None
        self._exchange = Exchange()
        self._stream: FormStream | WebSocketStream | None = None
        self.record = router.observer.new_record()
        self._deadline = math.inf
        self._is_new = True
        self._lingering = False
        self._paused = False
        self._write_paused = False
        self._unmarked = False
        self._unsent = 0

    def check_deadline(self, now: float) -> None:
        """Close the connection if it was waited for too long; called by the sweep."""
        if now < self._deadline:
            if self._exchange.active:
                if self._paused and self._has_left():
                    self.transport.abort()
                else:
                    self._exchange.check_deadline(now)
            return
        ending = self._lingering or self.transport.is_closing()
        if (self._head is not None or self._reader.pending) and not ending:
            self._break_off(BadRequestError("The request did not arrive in time.", 408, "timeout"))
        elif self._lingering or not self._still_reads(now):
            self.transport.abort()

    def _still_reads(self, now: float) -> bool:
        """Whether the client took more of a response since this was asked last; ask later again."""
        unsent = self.unsent_bytes()
        if unsent == self._unsent:  # or all was sent
            return False
        self._unsent = unsent
        self._deadline = now + limits.CLIENT_STALL_S
        return unsent > 0

    def _has_left(self) -> bool:
        """Whether the client has closed, which goes unnoticed while nothing is read from it.

        The client of a WebSocket that closed one half may still listen.
        """
        poll = select.poll()
        half = 0 if isinstance(self._stream, WebSocketStream) else select.POLLRDHUP
        poll.register(self.transport.get_extra_info("socket").fileno(), half)
        return bool(poll.poll(0))

    def unsent_bytes(self) -> int:
        """How much of what was written the client has not taken."""
        return self.transport.get_write_buffer_size()

    def unmarked(self, begins: bool) -> None:
        """Have the kernel reset the connection, whatever closes it, until the response ended well.

        So it is also where this process is killed. A unix socket can't be reset.
        """
        self._unmarked = begins
        sock = self.transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS if begins else _CLOSES)

    def drain(self) -> None:
        """Close now if idle, else after the response in flight.

        A client that has just come gets time for its request, which may be on the way.
        """
        if self._head is not None or self._reader.pending:
            return
        if self._is_new:
            self._deadline = min(self._deadline, self._router.now + limits.DRAIN_NEW_S)
        else:
            self.transport.close()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the time that a first request may take."""
        self.transport = cast(asyncio.Transport, transport)
        self.write = self.transport.write
        peer = transport.get_extra_info("peername")
        secure = transport.get_extra_info("sslcontext") is not None
        address = peer[0] if isinstance(peer, tuple) else "unknown"
        self._memo.connected(address.encode(), b"https" if secure else b"http")
        self.record.connected(address)
        self._router.client_came(self)
        self._deadline = self._router.now + limits.CLIENT_IDLE_S

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the backend's work for a client that went."""
        self._router.client_went(self)
        if self._exchange.active:
            self._exchange.cancel()
        if self.record.active:
            self.record.end(self.record.status, "client_left")

    def eof_received(self) -> bool:
        """Take a client that closes its half while it waits as gone, as nginx and Go do.

        On a WebSocket the backend is told, and gets some time for what it has yet to say.
        """
        if not self._exchange.active:
            return False
        if isinstance(self._stream, WebSocketStream) and self.transport.can_write_eof():
            self._deadline = self._router.now + limits.CLOSE_S
            if self._exchange.end_stream():
                self._stream = None
                return True
        self.transport.abort()
        return False

    # How requests and connections end.

    def _write_error(self, error: ApiError, close: bool) -> None:
        record = self.record
        if not record.active:  # its head could not be read
            record.begin(None)
        to_llmhop = self._head is not None and self._head.via_llmhop
        page = error_page(error, record.request_id, to_llmhop)
        self._write_page(page, close, error.code or "refused")

    def _write_page(self, page: Page, close: bool, end: str) -> None:
        record, head_only = self.record, self._is_head()
        self.write(render(page, record.request_id, head_only=head_only, close=close))
        record.bytes_out = 0 if head_only else len(page.body)
        record.end(page.status, end)

    def _finish(self, close: bool) -> None:
        """End the current request, and with `close` the connection."""
        self._head = None
        self._is_new = False
        if close:
            # What was written is still sent, to a client that takes it.
            self._stream = None
            self._deadline = self._router.now + limits.CLOSE_S
            self.transport.close()
            return
        wait = limits.CLIENT_HEAD_S if self._reader.pending else limits.CLIENT_IDLE_S
        self._deadline = self._router.now + wait

    def _cut(self) -> None:
        """Close within a response."""
        if self._unmarked and self.transport.get_extra_info("sslcontext") is not None:
            # Closing would send the end that TLS has of its own. What was written goes out first.
            self._lingering = True
            asyncio.get_running_loop().call_soon(self.transport.abort)
        self._finish(close=not self._lingering)

    def _break_off(self, error: ApiError) -> None:
        """End a request that can't be read on, which may be on its way to a backend already."""
        if self._exchange.active:
            self._exchange.cancel()
            if self._exchange.head_sent:
                self.record.end(self.record.status, error.code or "refused")
                self._cut()
                return
        self._refuse(error)

    def _refuse(self, error: ApiError) -> None:
        """Answer and close, though bytes of the request may still come."""
        self._write_error(error, True)
        self._linger()

    def _linger(self) -> None:
        """Close in good order though bytes of the request may still come.

        Closing at once would reset the connection under the answer, so what comes is thrown away
        until the client closes or some seconds have passed (RFC 9112 section 9.6).
        """
        self._lingering = True
        self._stream = None
        if self._reader.large is not None:
            self.transport.set_protocol(self)  # from its intake, which would keep what comes
        self._deadline = self._router.now + limits.LINGER_S
        self.transport.resume_reading()
        if self.transport.can_write_eof():  # not over TLS
            self.transport.write_eof()

    def _is_head(self) -> bool:
        return self._head is not None and self._head.method == b"HEAD"
