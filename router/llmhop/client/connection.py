"""A client's connection, whatever is sent on it: how its requests and it end."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from typing import Final, cast

from llmhop import limits
from llmhop.client.state import BODY, CLIENT_END, END, HEAD, NOTHING, SOCKET_END, ClientState
from llmhop.errors import ApiError, overloaded, request_timeout, shutting_down
from llmhop.http.local_response import Page, error_page, render
from llmhop.http.request_reader import RequestReader
from llmhop.relay.body_stream import WebSocketStream

# For SO_LINGER: closing sends a reset, or what closing usually does.
_RESETS = struct.pack("ii", 1, 0)
_CLOSES = struct.pack("ii", 0, 0)
_ALL_SENT: Final = -1  # in place of how many bytes are not


class ClientConnection(ClientState):
    """What ClientProtocol stands on. `transport` and `write` are there once it was connected."""

    __slots__ = ()

    # Deadlines and limits.

    def check_deadline(self, now: float) -> None:
        """Close the connection if it was waited for too long; called by the sweep."""
        if now >= self._deadline and self._turn_asked_at is None:
            self._expire(now)
        elif self._exchange.active:
            if self._paused and self._has_left():
                self.transport.abort()
            elif self._waiting == BODY:
                self._exchange.wait_for_client(now)
            else:
                self._exchange.check_deadline(now)
        elif self._waiting == END:
            self._end_tls()

    def _end_tls(self) -> None:
        """Close over TLS without the client's word for it, which an idle one gives late or never.

        Everything has to be with it before: as the last sweep found it, and this one.
        """
        transport = self.transport
        if transport.get_extra_info("sslcontext") is None:
            return
        if self.unsent_bytes():
            self._unsent = 0
        elif self._unsent == _ALL_SENT:
            transport.abort()
        else:
            self._unsent = _ALL_SENT

    def _expire(self, now: float) -> None:
        waits_for = self._waiting
        if waits_for == BODY:
            if self._received - self._window_start >= self._router.table.upload_bytes:
                self._open_window(now)
                return
            self._router.observer.refused("upload_rate")
        if waits_for in (BODY, HEAD, SOCKET_END):
            self._break_off(request_timeout())
        elif waits_for == CLIENT_END or not self._still_reads(now):
            self.transport.abort()

    def _has_left(self) -> bool:
        """Whether the client has left, as the kernel knows it.

        That it closed its half is for who reads to find out; while nothing is read from it, it
        counts. The client of a WebSocket that closed one half may still listen.
        """
        if self.transport.is_closing():
            return True
        poll = select.poll()
        is_half = self._paused and not isinstance(self._stream, WebSocketStream)
        half = select.POLLRDHUP if is_half else 0
        poll.register(self.transport.get_extra_info("socket").fileno(), half)
        return bool(poll.poll(0))

    def _account_read(self) -> None:
        """Count what was read; where that is too much, refuse the request that it belongs to."""
        if self._account() or (self._exchange.active and self._account_less()):
            return
        self._router.observer.refused("buffered_bytes")
        if self._exchange.active:
            # What runs goes on. Who has sent ahead is told when the turn of that comes.
            self._refusal = overloaded()
            self._drop_input()
            self._account()
        else:
            self._break_off(overloaded())

    def _account_less(self) -> bool:
        """Count what is held without the copy of what was sent; answer whether there is room."""
        self._exchange.drop_copy()
        return self._account()

    def arm_reset(self) -> None:
        """Have the kernel reset the connection, whatever closes it.

        So it is also where this process is killed. A unix socket can't be reset.
        """
        self._reset_armed = True
        self._set_linger(_RESETS)

    def disarm_reset(self) -> None:
        """Have the kernel close the connection as usual."""
        self._reset_armed = False
        self._set_linger(_CLOSES)

    def _set_linger(self, value: bytes) -> None:
        sock = self.transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)

    def drain(self) -> None:
        """Close now if idle, else after the response in flight; nobody waits for a place.

        A client that has just come gets time for its request, which may be on the way.
        """
        if self._exchange.active:
            self._exchange.stop_waiting()
        elif self._head is not None or self._reader.pending or self._deferred:
            return
        elif self._is_new:
            self._deadline = min(self._deadline, self._router.now + limits.DRAIN_NEW_S)
        else:
            self._finish(True)

    def cut_off(self) -> None:
        """End what was not over in time: with an error, or within the response."""
        if self._lingering or self.transport.is_closing():
            return
        if self._exchange.active and self._exchange.head_sent:
            self._exchange.cancel()
            self.record.end(self.record.status, "shutting_down")
            self.transport.abort()
        elif self._exchange.active:
            self._router.observer.refused("shutting_down")
            self._exchange.refuse(shutting_down(unserved=False))
        elif self._head is not None or self._reader.pending:
            self._router.observer.refused("shutting_down")
            self._refuse(shutting_down(unserved=True))
        else:
            self._finish(True)

    def fail(self) -> None:
        """Cut it off after a fault of llmhop's own."""
        try:
            self._let_go("internal_error")
        finally:
            self.transport.abort()

    def _let_go(self, end: str) -> None:
        try:
            if self._exchange.active:
                self._exchange.cancel()
        finally:
            if self.record.active:
                self.record.end(self.record.status, end)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the time that a first request may take.

        The peer's name of a unix socket is empty, and that of a reset connection is None.
        """
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        secure = transport.get_extra_info("sslcontext") is not None
        self.write = self._write_tls if secure else self.transport.write
        address = peer[0] if isinstance(peer, tuple) else "unknown"
        self._memo.connected(address.encode(), b"https" if secure else b"http")
        self.record.connected(address)
        self._router.client_connected(self)
        self._wait()
        if peer is None:
            # It was reset before it could be asked for its address: nobody is served unnamed.
            self.transport.abort()
        elif self._router.draining:  # its TLS handshake ended only now
            self.drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the backend's work for a client that went."""
        self._router.client_disconnected(self)
        self._share.close()
        self._slot = None
        self._let_go("client_left")

    def eof_received(self) -> bool:
        """Take a client that closes its half while it waits as gone, as nginx and Go do.

        On a WebSocket the backend is told, and gets some time for what it has yet to say.
        """
        if not self._exchange.active:
            # What was written is still sent. What is missing of a request will not come.
            self._closing = not self._lingering
            self._stream = None
            self._drop_input()
            self._account()
            self._wait()
            return False
        is_socket = isinstance(self._stream, WebSocketStream)
        if is_socket and self.transport.can_write_eof() and self._exchange.end_stream():
            self._stream = None
            self._half_closed = True
            self._wait()
            return True
        self.transport.abort()
        return False

    # How requests and connections end.

    def _write_tls(self, data: bytes) -> None:
        """Write, unless the client has left.

        Over TLS, transports drop that before `is_closing` tells of it (sslproto of asyncio and
        uvloop): once the TCP connection broke, or its end came while nothing was read.
        """
        if self._has_left():
            self.transport.abort()
        else:
            self.transport.write(data)

    def _is_taken(self) -> bool:
        """Whether what was just written is on its way to the client.

        A transport that is about to be lost drops it in silence. That end of a request is for
        `connection_lost` to note.
        """
        return not self.transport.is_closing()

    def _write_error(self, error: ApiError, close: bool) -> None:
        record, head = self.record, self._head
        if not record.active:  # its head could not be read
            record.begin(None)
        to_llmhop = head is None or head.via_llmhop
        page = error_page(error, record.request_id, to_llmhop)
        self._write_page(page, close, error.code or "refused")

    def _write_page(self, page: Page, close: bool, end: str) -> None:
        record, head_only = self.record, self._is_head()
        self.write(render(page, record.request_id, head_only=head_only, close=close))
        if self._is_taken():
            record.bytes_out = 0 if head_only else len(page.body)
            record.end(page.status, end)

    def _finish(self, close: bool) -> None:
        """End the current request, and with `close` the connection."""
        self._head = None
        self._is_new = False
        self._waiting = NOTHING
        if close:
            # What was written is still sent, to a client that takes it.
            self._stream = None
            self._closing = True
            self._drop_input()
            self.transport.close()
        if self._share.held:
            self._account()
        self._wait()

    def _cut(self) -> None:
        """Close within a response."""
        if self._reset_armed and self.transport.get_extra_info("sslcontext") is not None:
            # Closing would send the end that TLS has of its own. What was written goes out first.
            self._lingering = True
            asyncio.get_running_loop().call_soon(self.transport.abort)
        self._finish(close=not self._lingering)

    def _break_off(self, error: ApiError) -> None:
        """End a request that can't be read on, which may be on its way to a backend already."""
        if self._exchange.active:
            within_response = self._exchange.head_sent
            self._exchange.cancel()
            if within_response:
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
        self._drop_input()
        self._account()
        self._wait()
        self.transport.resume_reading()
        if self.transport.can_write_eof():  # not over TLS
            self.transport.write_eof()

    def _drop_input(self) -> None:
        """Let go of what was read and is not wanted any more."""
        reader = self._reader
        self._deferred = b""
        if reader.large is not None:
            self.transport.set_protocol(self)  # from its intake, which would keep what comes
            reader.large.take()
        if reader.held_bytes:
            self._reader = RequestReader()
        if self._turn_asked_at is not None:
            self.take_turn()

    def _is_head(self) -> bool:
        return self._head is not None and self._head.method == b"HEAD"
