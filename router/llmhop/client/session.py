"""The state of one client's connection: what it waits for, what it holds, how it ends.

It is composed of parts that are independent of one another, each with a state of its own: `socket`
(the connection), `incoming` (what was received of a request), `exchange` (its way to a backend),
`deadline`, and the share of the memory budget of all clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llmhop.client.client_socket import CLOSING, HALF_CLOSED, LINGERING, ClientSocket
from llmhop.client.deadline import (
    BACKEND,
    BODY,
    CLIENT_END,
    END,
    HEAD,
    NOTHING,
    READER,
    REQUEST,
    WEBSOCKET_END,
    Deadline,
)
from llmhop.client.incoming_request import IncomingRequest
from llmhop.client.memory_budget import Share
from llmhop.client.server_context import ServerContext
from llmhop.errors import ApiError, overloaded
from llmhop.http.anthropic import is_of_anthropic
from llmhop.http.body.large_body import Body
from llmhop.http.local_response import LocalResponse, error_response, render
from llmhop.http.parsed_head import RequestHead
from llmhop.limits import DRAIN_KEPT_S
from llmhop.relay.body_stream import FormStream
from llmhop.relay.exchange import Exchange
from llmhop.relay.head_memo import HeadMemo
from llmhop.routing.decision import Answer, MetricsPage, ReadinessQuery, Route


class Session:
    """A client's connection. `record` is that of its current request.

    `refusal` is the error for pipelined requests beyond the memory budget, sent after the current
    response. `write` is set once the client is connected.
    """

    __slots__ = (
        "_share",
        "deadline",
        "exchange",
        "has_served",
        "incoming",
        "memo",
        "record",
        "refusal",
        "server",
        "socket",
        "write",
    )

    write: Callable[[bytes], None]
    """Sends bytes to the client."""

    def __init__(self, server: ServerContext, on_loopback: bool) -> None:
        """`on_loopback` is what HeadMemo has to know."""
        self.server = server
        self.memo = HeadMemo(server.table, on_loopback)
        self.record = server.observer.new_record()
        self.incoming = IncomingRequest()
        self.exchange = Exchange(self.memo, self.record, server.models)
        self.socket = ClientSocket()
        self.deadline = Deadline(server)
        self.refusal: ApiError | None = None
        self.has_served = False
        self._share = Share(server.budget)

    def connected(self, transport: asyncio.Transport, address: str) -> None:
        """Begin with the time that a first request may take."""
        self.socket.connected(transport)
        self.write = self.socket.write
        scheme = b"https" if self.socket.is_tls else b"http"
        self.memo.connected(address.encode(), scheme)
        self.record.connected(address)

    def disconnected(self) -> None:
        """Release everything, and cancel the exchange of a client that disconnected."""
        self._share.close()
        self.let_go("client_left")

    def let_go(self, end: str) -> None:
        """End the current request, whoever waits for it; `end` is for the access log."""
        try:
            if self.exchange.active:
                self.exchange.cancel()
        finally:
            if self.record.active:
                self.record.end(self.record.status, end)

    # How a request begins.

    def decide(
        self, head: RequestHead, body: Body
    ) -> Answer | MetricsPage | ReadinessQuery | Route:
        """Return what becomes of a request, which its client may send. Raises ApiError."""
        decision = self.memo.decide(head, body)
        if isinstance(decision, Route):
            self.enter_quota()
        return decision

    def enter_quota(self) -> None:
        """Count the request among those of its client. Raises ApiError (429)."""
        principal = self.memo.principal
        if principal.is_limited:
            quota = self.server.quotas.get(principal.name)
            if quota is not None:
                quota.enter()
                self.record.quota = quota

    # What is waited for, and what is held.

    def waits_for(self) -> int:
        """Return what the connection waits for (see deadline)."""
        state, incoming = self.socket.state, self.incoming
        if state == LINGERING:
            return CLIENT_END
        if state == CLOSING:
            return END
        if self.exchange.active:
            if state == HALF_CLOSED:
                return WEBSOCKET_END
            reads = isinstance(incoming.stream, FormStream) and not self.socket.paused
            return BODY if reads else BACKEND
        if self.socket.write_paused:
            return READER
        if incoming.head is not None:
            return BODY
        return HEAD if incoming.reader.pending else REQUEST

    def wait(self) -> None:
        """Set the deadline if something else is waited for than before."""
        self.deadline.wait_for(self.waits_for())

    def held_bytes(self) -> int:
        """How much of what the client has sent is in memory."""
        return self.incoming.held_bytes(self.exchange.active, self.exchange.held_bytes)

    def account(self) -> bool:
        """Count what is held against the memory budget; return whether there is room for it."""
        return self._share.set(self.held_bytes())

    def account_less(self) -> bool:
        """Count what is held without the copy of what was sent; answer whether there is room."""
        self.exchange.drop_copy()
        return self.account()

    def account_read(self) -> None:
        """Count what was read; where that is too much, refuse the request that it belongs to."""
        if self.account() or (self.exchange.active and self.account_less()):
            return
        self.server.observer.refused("buffered_bytes")
        if self.exchange.active:
            # What runs goes on; what was sent ahead is refused after it, in order.
            self.refusal = overloaded()
            self.drop_input()
            self.account()
        else:
            self.break_off(overloaded())

    # How a request ends, and how the connection does.

    def write_error(self, error: ApiError, close: bool) -> None:
        """Answer the current request with an error; `close` is what the response says of that."""
        record, head = self.record, self.incoming.head
        if not record.active:  # its head could not be read
            record.begin_refused(bytes(self.incoming.reader.pending), self.deadline.waited())
        to_llmhop = head is None or head.via_llmhop
        response = error_response(
            error,
            record.request_id,
            to_llmhop,
            to_anthropic=head is not None and is_of_anthropic(head),
        )
        self.write_response(response, close, error.code or "refused")

    def write_response(self, response: LocalResponse, close: bool, end: str) -> None:
        """Answer the current request; `end` is for the access log."""
        record, head_only = self.record, self.incoming.asks_for_head
        # What cannot be read of a head may have been its origin.
        cors = b"" if self.incoming.head is None else self.memo.cors
        self.write(render(response, record.request_id, head_only=head_only, close=close, cors=cors))
        if self.socket.takes_writes():
            record.bytes_out = 0 if head_only else len(response.body)
            record.end(response.status, end)

    def finish(self, close: bool) -> None:
        """End the current request, and with `close` the connection."""
        if self.incoming.body_unwanted:
            self.linger()
            return
        self.incoming.finish()
        self.has_served = True
        self.deadline.waits_for = NOTHING
        if close:
            # What was written is still sent, to a client that takes it.
            self.incoming.stream = None
            self.socket.begin_close()
            self.drop_input()
            self.socket.close()
        if self._share.held:
            self.account()
        self.wait()

    def end_kept(self) -> None:
        """At a drain, end a connection on which no request is under way.

        Over TLS it waits for one more, with whose response the client is told. The end of TLS would
        come before that of TCP, and clients look for that alone before they use a connection again
        (httpcore does): what they send between the two would be lost.
        """
        if self.socket.is_tls:
            self.deadline.shorten_idle(DRAIN_KEPT_S)
        else:
            self.finish(True)

    def cut(self) -> None:
        """Close within a response."""
        self.finish(close=not self.socket.close_within_response())

    def break_off(self, error: ApiError) -> None:
        """End a request that can't be read on, which may be on its way to a backend already."""
        if self.exchange.active:
            within_response = self.exchange.head_sent
            self.exchange.cancel()
            if within_response:
                self.record.end(self.record.status, error.code or "refused")
                self.cut()
                return
        self.refuse(error)

    def refuse(self, error: ApiError) -> None:
        """Answer and close, though bytes of the request may still come."""
        self.write_error(error, True)
        self.linger()

    def linger(self) -> None:
        """Close in good order though bytes of the request may still come.

        Closing at once would reset the connection under the answer, so what comes is thrown away
        until the client closes or some seconds have passed (RFC 9112 section 9.6).
        """
        self.socket.begin_linger()
        self.incoming.stream = None
        self.drop_input()
        self.account()
        self.wait()
        self.socket.shut_down()

    def drop_input(self) -> None:
        """Discard what was read."""
        if self.incoming.reader.large is not None:
            self.socket.end_intake()  # which would keep what comes
        self.incoming.drop()
        if self.socket.deferred_since is not None:
            self.resume_deferred()

    def resume_deferred(self) -> None:
        """Read on, in the pass of the event loop that this waited for.

        No deadline ran meanwhile, as the client was not to blame.
        """
        self.deadline.postpone(self.socket.resume_deferred(self.server.now))
