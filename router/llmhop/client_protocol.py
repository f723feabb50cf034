"""The client's side of the router: one connection, as an asyncio Protocol.

Invariants: requests are answered one at a time, in order; what a client sends ahead waits, unread
beyond a bound; while an exchange runs, reading goes on, so that a client that leaves is noticed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from llmhop import limits
from llmhop.backends import Backends
from llmhop.body_intake import BodyIntake
from llmhop.connection_memo import ConnectionMemo
from llmhop.errors import ApiError, BadRequestError
from llmhop.exchange import Exchange
from llmhop.http_head import RequestHead
from llmhop.local_response import CONTINUE, Page, error_page, render
from llmhop.naming import rename
from llmhop.observer import Observer
from llmhop.readiness import Readiness
from llmhop.request_reader import Body, RequestReader, read_whole
from llmhop.routing import MetricsPage, Ready, Route, Table


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

    def client_came(self, client: ClientProtocol) -> None:
        """A client connected."""

    def client_went(self, client: ClientProtocol) -> None:
        """A client's connection is closed."""


class ClientProtocol(asyncio.Protocol):
    """A client's connection. Implements exchange.Downstream."""

    __slots__ = (
        "_deadline",
        "_exchange",
        "_head",
        "_is_new",
        "_lingering",
        "_memo",
        "_paused",
        "_proto",
        "_reader",
        "_router",
        "_write_paused",
        "record",
        "transport",
        "write",
    )

    transport: asyncio.Transport
    write: Callable[[bytes], None]
    """Sends bytes to the client. This and `transport`: only after the connection was made."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._memo = ConnectionMemo(router.table)
        self._reader = RequestReader()
        self._head: RequestHead | None = None
        self._exchange = Exchange()
        self.record = router.observer.new_record()
        self._deadline = math.inf
        self._is_new = True
        self._lingering = False
        self._paused = False
        self._write_paused = False

    def check_deadline(self, now: float) -> None:
        """Close the connection if it was waited for too long; called by the sweep."""
        if self._exchange.active:
            self._exchange.check_deadline(now)
            return
        if now < self._deadline:
            return
        ending = self._lingering or self.transport.is_closing()
        if (self._head is not None or self._reader.pending) and not ending:
            self._refuse(BadRequestError("The request did not arrive in time.", 408, "timeout"))
        else:
            self.transport.abort()

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
            self.record.relayed("client_left")

    def eof_received(self) -> None:
        """Take a client that closes its half while it waits as gone, as nginx and Go do."""
        if self._exchange.active:
            self.transport.abort()

    def pause_writing(self) -> None:
        """The client reads slower than the backend writes."""
        self._write_paused = True
        if self._exchange.active:
            self._exchange.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._write_paused = False
        if self._exchange.active:
            self._exchange.resume()
        else:
            self._advance()

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests; stop reading where a client sends too far ahead."""
        if self._lingering:
            return
        fresh = self._head is None and not self._reader.pending
        if fresh and not self._write_paused and self._serve_whole(data):
            return
        self._reader.feed(data)
        if fresh:
            self._deadline = self._router.now + limits.CLIENT_HEAD_S
        if not self._exchange.active and not self._write_paused:
            self._advance()
        elif len(self._reader.pending) > limits.MAX_PIPELINED_BYTES and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def body_came(self, complete: bool) -> None:
        """Go on when the whole of a large body is there; called by its intake."""
        self._deadline = self._router.now + limits.CLIENT_BODY_S
        if complete:
            self.transport.set_protocol(self)
            self._advance()

    # What the exchange calls.

    def unsent_bytes(self) -> int:
        """How much of what was written the client has not taken."""
        return self.transport.get_write_buffer_size()

    def wants_close(self) -> bool:
        """Whether the connection is to end after the response to the current request."""
        return self._head is None or self._head.close or self._router.draining

    def exchange_done(self, close: bool) -> None:
        """Go on with the next request, or close."""
        self.record.relayed("complete")
        self._finish(close or self._router.draining)
        if self._reader.pending or self._paused:
            self._advance_soon()

    def exchange_answered(self, page: Page) -> None:
        """Answer with a page that took a while."""
        self._answer(page)
        self._advance_soon()

    def exchange_refused(self, error: ApiError) -> None:
        """Answer with an error."""
        self._answer_error(error)
        self._advance_soon()

    def exchange_broken(self, end: str) -> None:
        """Close after what was relayed, without the end that a whole response has."""
        self.record.relayed(end)
        self._finish(close=True)

    # Requests.

    def _serve_whole(self, data: bytes) -> bool:
        """Serve `data` if it is exactly one request: what `_advance` does, in fewer steps."""
        if self.transport.is_closing():
            return False
        table = self._router.table
        try:
            whole = read_whole(data, table.max_body_bytes)
            if whole is None:
                return False
            self._head, body = whole
            self.record.begin(self._head)
            self._memo.admit(self._head, table)
        except ApiError as error:
            self._refuse(error)
            return True
        self._deadline = math.inf
        self._dispatch(self._head, body)
        return True

    def _advance(self) -> None:
        """Read and answer requests until bytes are missing or an exchange runs."""
        try:
            while not self._exchange.active and not self._write_paused:
                if self._lingering or self.transport.is_closing():
                    return
                if self._head is None:
                    self._head = self._reader.read_head()
                    if self._head is None:
                        break
                    if not self._accept(self._head):
                        continue
                body = self._reader.read_body()
                if body is None:
                    self._deadline = self._router.now + limits.CLIENT_BODY_S
                    if self._reader.large is not None:
                        self.transport.set_protocol(BodyIntake(self, self._reader.large))
                    break
                self._deadline = math.inf
                self._dispatch(self._head, body)
            else:
                return
        except ApiError as error:
            self._refuse(error)
            return
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def _advance_soon(self) -> None:
        # Through the event loop, so that a long pipeline does not keep others from their turn.
        asyncio.get_running_loop().call_soon(self._advance)

    def _accept(self, head: RequestHead) -> bool:
        """Decide by its head whether a request's body is wanted; answer it if not.

        Raises ApiError where the body would still come.
        """
        self.record.begin(head)
        try:
            self._memo.admit(head, self._router.table)
        except ApiError as error:
            if self._reader.has_body:
                raise
            self._answer_error(error)
            return False
        self._reader.start_body(head, self._memo.table.max_body_bytes)
        if head.expect_continue and self._reader.awaits_body:
            self.write(CONTINUE)
        return True

    def _dispatch(self, head: RequestHead, body: Body) -> None:
        self.record.bytes_in = len(body)
        try:
            decision = self._memo.table.decide(head, body)
        except ApiError as error:
            self._answer_error(error)
            return
        if isinstance(decision, Route):
            self._forward(decision, head, body)
        elif isinstance(decision, Ready):
            look = self._router.readiness.answer
            self._exchange.answer(self, partial(look, self._memo.table, decision.detailed))
        elif isinstance(decision, MetricsPage):
            self._exchange.answer(self, self._router.metrics_page)
        else:
            self._answer(Page(200, decision.body))

    def _forward(self, route: Route, head: RequestHead, body: Body) -> None:
        if route.renames:
            body = rename(body, route.model)
        self._exchange.start(self, self._memo, head, body, route, self._router.backends)

    def _answer(self, page: Page) -> None:
        close = self.wants_close()
        self._write_page(page, close, "complete")
        self._finish(close)

    def _answer_error(self, error: ApiError) -> None:
        """Answer a request that was read to its end."""
        close = self.wants_close()
        self._write_error(error, close)
        self._finish(close)

    def _write_error(self, error: ApiError, close: bool) -> None:
        record = self.record
        if not record.active:  # its head could not be read
            record.begin(None)
        self._write_page(error_page(error, record.request_id), close, error.code or "refused")

    def _write_page(self, page: Page, close: bool, end: str) -> None:
        record, head_only = self.record, self._is_head()
        self.write(render(page, record.request_id, head_only=head_only, close=close))
        record.bytes_out = 0 if head_only else len(page.body)
        record.end(page.status, end)

    def _is_head(self) -> bool:
        return self._head is not None and self._head.method == b"HEAD"

    def _finish(self, close: bool) -> None:
        """End the current request, and with `close` the connection."""
        self._head = None
        self._is_new = False
        if close:
            # What was written is still sent, to a client that takes it.
            self._deadline = self._router.now + limits.CLOSE_S
            self.transport.close()
            return
        wait = limits.CLIENT_HEAD_S if self._reader.pending else limits.CLIENT_IDLE_S
        self._deadline = self._router.now + wait

    def _refuse(self, error: ApiError) -> None:
        """Answer and close, though bytes of the request may still come.

        Closing at once would reset the connection under the answer, so what comes is thrown away
        until the client closes or some seconds have passed (RFC 9112 section 9.6).
        """
        self._write_error(error, True)
        self._lingering = True
        if self._reader.large is not None:
            self.transport.set_protocol(self)  # from its intake, which would keep what comes
        self._deadline = self._router.now + limits.LINGER_S
        self.transport.resume_reading()
        if self.transport.can_write_eof():  # not over TLS
            self.transport.write_eof()
