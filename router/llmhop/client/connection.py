"""A client's connection as an asyncio.Protocol: the callbacks of the event loop and of the sweep.

The time for reading is shared fairly among all clients (see work_queue). RequestCycle serves the
requests; Session knows what the connection waits for and how it ends.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from llmhop import limits
from llmhop.client.client_socket import HALF_CLOSED, LINGERING
from llmhop.client.connection_limit import Slot
from llmhop.client.deadline import BODY, CLIENT_END, END, HEAD, READER, REQUEST, WEBSOCKET_END
from llmhop.client.request_cycle import RequestCycle
from llmhop.client.server_context import ServerContext
from llmhop.client.session import Session
from llmhop.errors import request_timeout, shutting_down
from llmhop.relay.body_stream import WebSocketStream


class Clients(ServerContext, Protocol):
    """The server, as it keeps track of all clients' connections."""

    def client_connected(self, client: ClientConnection) -> None:
        """A client connected."""

    def client_disconnected(self, client: ClientConnection) -> None:
        """A client's connection is closed."""


class ClientConnection(asyncio.Protocol):
    """A client's connection. `transport` is set by `connection_made`.

    `record` is that of its current request.
    """

    __slots__ = ("_clients", "_cycle", "_session", "_slot", "record", "transport")

    transport: asyncio.Transport

    def __init__(self, clients: Clients, on_loopback: bool = False) -> None:
        """`on_loopback` is what HeadMemo has to know."""
        self._clients = clients
        self._session = Session(clients, on_loopback)
        self._cycle = RequestCycle(self._session)
        self._slot: Slot | None = Slot(clients.connection_limit)
        self.record = self._session.record

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the time that a first request may take.

        The peer's name of a unix socket is empty, and that of a reset connection is None.
        """
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._cycle.connected(self.transport, peer[0] if isinstance(peer, tuple) else "unknown")
        self._clients.client_connected(self)
        self._session.wait()
        if peer is None:
            # It was reset before it could be asked for its address: nobody is served unnamed.
            self.transport.abort()
        elif self._clients.draining:  # its TLS handshake ended only now
            self.drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the backend's work for a client that went."""
        self._clients.client_disconnected(self)
        self._slot = None
        self._session.disconnected()

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests, now or in another pass of the event loop."""
        session = self._session
        if session.socket.state == LINGERING or session.refusal is not None:
            return
        work = self._clients.work
        if work.is_full or session.incoming.deferred:
            self._defer(data)
        else:
            began = work.clock()
            self._cycle.receive(data)
            work.spend(work.clock() - began)

    def _defer(self, data: bytes) -> None:
        session, incoming = self._session, self._session.incoming
        if not incoming.deferred:
            light = incoming.is_new and len(data) <= limits.LIGHT_BYTES
            self._clients.work.put(self._take_deferred, light=light)
            self.defer_reading()
        incoming.deferred += data
        session.account_read()

    def _take_deferred(self) -> None:
        incoming = self._session.incoming
        data, incoming.deferred = incoming.deferred, b""
        if data and not self.transport.is_closing():
            self.resume_deferred()
            self._cycle.receive(data)

    def eof_received(self) -> bool:
        """Take a client that closes its half while it waits as gone, as nginx and Go do.

        What came before that is served, if no more is missing of it. On a WebSocket the backend is
        told, and gets some time for what it has yet to say.
        """
        self._take_deferred()
        session = self._session
        exchange, incoming = session.exchange, session.incoming
        if not exchange.active:
            # What was written is still sent. What is missing of a request will not come.
            session.socket.begin_close()
            incoming.stream = None
            session.drop_input()
            session.account()
            session.wait()
            return False
        is_websocket = isinstance(incoming.stream, WebSocketStream)
        if is_websocket and self.transport.can_write_eof() and exchange.end_stream():
            incoming.stream = None
            session.socket.state = HALF_CLOSED
            session.wait()
            return True
        self.transport.abort()
        return False

    def pause_writing(self) -> None:
        """The client reads slower than the backend writes."""
        session = self._session
        session.socket.write_paused = True
        if session.exchange.active:
            session.exchange.pause()
        else:
            session.wait()

    def resume_writing(self) -> None:
        """The client has caught up."""
        session = self._session
        session.socket.write_paused = False
        if session.exchange.active:
            session.exchange.resume()
        else:
            self._cycle.advance()

    # What an intake calls, which stands in while a large body comes.

    def defer_reading(self) -> None:
        """Read no more for now: what came waits for another pass of the event loop."""
        self._session.socket.defer_reading(self._clients.now)

    def resume_deferred(self) -> None:
        """Read on: that pass has come."""
        self._session.resume_deferred()

    def body_received(self, count: int, complete: bool) -> None:
        """Go on when the whole of a large body is there."""
        self._cycle.body_received(count, complete)

    # What the sweep calls.

    def check_deadline(self, now: float) -> None:
        """Close the connection if it was waited for too long."""
        session, socket = self._session, self._session.socket
        exchange, deadline = session.exchange, session.deadline
        if now >= deadline.at and socket.deferred_since is None:
            self._expire(now)
        elif exchange.active:
            if socket.paused and socket.has_left():
                socket.abort()
            elif deadline.waits_for == BODY:
                exchange.wait_for_client(now)
            else:
                exchange.check_deadline(now)
        elif deadline.waits_for == END:
            socket.close_tls()

    def _expire(self, now: float) -> None:
        session, deadline = self._session, self._session.deadline
        waits_for = deadline.waits_for
        if waits_for == BODY:
            if deadline.upload_goes_on(now):
                return
            self._clients.observer.refused("upload_rate")
        if waits_for in (BODY, HEAD, WEBSOCKET_END):
            session.break_off(request_timeout())
            return
        unsent = session.socket.unsent_bytes()
        if unsent and self._clients.draining and waits_for in (READER, REQUEST):
            session.finish(True)
        elif waits_for == CLIENT_END or not deadline.client_takes(unsent, now):
            self.transport.abort()

    # How a drain ends it, or a fault.

    def drain(self) -> None:
        """Close now if idle, else after the response in flight; nobody waits for a place.

        A client that has just come gets time for its request, which may be on the way.
        """
        session, incoming = self._session, self._session.incoming
        if session.exchange.active:
            session.exchange.stop_waiting()
        elif not incoming.is_new or incoming.deferred:
            return
        elif not session.has_served:
            session.deadline.shorten(limits.DRAIN_NEW_S)
        else:
            session.end_kept()

    def cut_off(self) -> None:
        """End what was not over in time: with an error, or within the response."""
        session, exchange = self._session, self._session.exchange
        if session.socket.state == LINGERING or self.transport.is_closing():
            return
        if exchange.active and exchange.head_sent:
            exchange.cancel()
            self.record.end(self.record.status, "shutting_down")
            self.transport.abort()
        elif exchange.active:
            self._clients.observer.refused("shutting_down")
            exchange.refuse(shutting_down(unserved=False))
        elif not session.incoming.is_new:
            self._clients.observer.refused("shutting_down")
            session.refuse(shutting_down(unserved=True))
        else:
            session.finish(True)

    def fail(self) -> None:
        """Cut it off after a fault of llmhop's own."""
        try:
            self._session.let_go("internal_error")
        finally:
            self.transport.abort()
