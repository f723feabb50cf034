"""The client's side of the router: the requests of one connection, as an asyncio Protocol.

Invariants: requests are answered one at a time, in order; what a client sends ahead waits, unread
beyond a bound; while an exchange runs, reading goes on, so that a client that leaves is noticed.
What goes on as it comes (see relay.body_stream) is read only while the backend takes it.
"""

from __future__ import annotations

import math
from functools import partial

from llmhop import limits
from llmhop.client.body_intake import BodyIntake
from llmhop.client.connection import ClientConnection
from llmhop.client.state import BACKEND
from llmhop.errors import ApiError, overloaded, queue_full, shutting_down
from llmhop.http.body.large_body import Body, LargeBody
from llmhop.http.head import RequestHead
from llmhop.http.local_response import CONTINUE, Page
from llmhop.relay.body_stream import FormStream, WebSocketStream
from llmhop.routing.body_model import rename
from llmhop.routing.table import MetricsPage, Ready, Route


class ClientProtocol(ClientConnection):
    """A client's connection. Implements relay.downstream.Downstream."""

    __slots__ = ()

    # What the event loop calls.

    def pause_writing(self) -> None:
        """The client reads slower than the backend writes."""
        self._write_paused = True
        if self._exchange.active:
            self._exchange.pause()
        else:
            self._wait()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._write_paused = False
        if self._exchange.active:
            self._exchange.resume()
        else:
            self._advance()

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests, now or in another pass of the event loop."""
        if self._lingering or self._refusal is not None:
            return
        work = self._router.work
        if work.is_full or self._deferred:
            self._defer(data)
        else:
            began = work.clock()
            self._receive(data)
            work.spend(work.clock() - began)

    def eof_received(self) -> bool:
        """Take what came before the end, which ends what runs."""
        self._take_deferred()
        return super().eof_received()

    def _defer(self, data: bytes) -> None:
        if not self._deferred:
            fresh = self._head is None and not self._reader.pending
            light = fresh and len(data) <= limits.LIGHT_BYTES
            self._router.work.put(self._take_deferred, light=light)
            self.await_turn()
        self._deferred += data
        self._account_read()

    def _take_deferred(self) -> None:
        data, self._deferred = self._deferred, b""
        if data and not self.transport.is_closing():
            self.take_turn()
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        """Take bytes of requests; stop reading where a client sends too far ahead."""
        if len(data) >= limits.MAX_BYTES_A_TURN:
            self.transport.pause_reading()
            self._router.work.put(self._resume_reading)
        fresh = self._head is None and not self._reader.pending
        if fresh and not self._write_paused and self._serve_whole(data):
            return
        self._count_received(len(data))
        self._reader.feed(data)
        if self._stream is not None:
            self._read_on(self._stream)
        elif not self._exchange.active and not self._write_paused:
            self._advance()
        else:
            if len(self._reader.pending) > limits.MAX_PIPELINED_BYTES and not self._paused:
                self._paused = True
                self.transport.pause_reading()
            self._account_read()
            self._wait()

    def body_received(self, count: int, complete: bool) -> None:
        """Go on when the whole of a large body is there; called by its intake."""
        self._count_received(count)
        if complete:
            self.transport.set_protocol(self)
            self._advance()
        else:
            self._account_read()

    # What the exchange calls.

    def wants_close(self) -> bool:
        """Whether the connection is to end after the response to the current request.

        It is where the response came before the whole request did: nobody wants the rest.
        """
        head = self._head
        return head is None or head.close or self._router.draining or self._stream is not None

    def exchange_done(self, close: bool) -> None:
        """Go on with the next request, or close."""
        if self._is_taken():
            self.record.end(self.record.status, "complete")
        if self._stream is not None and not isinstance(self._stream, WebSocketStream):
            self._linger()
            return
        # At a drain, who was not told of the end and has asked for more is served once more.
        self._finish(close or (self._router.draining and not self._reader.pending))
        if self._reader.pending or self._paused or self._refusal is not None:
            self._advance_soon()

    def exchange_answered(self, page: Page) -> None:
        """Answer with a page that took a while."""
        self._answer(page)
        self._advance_soon()

    def exchange_refused(self, error: ApiError) -> None:
        """Answer with an error."""
        if self._stream is not None:
            self._refuse(error)
            return
        self._answer_error(error)
        self._advance_soon()

    def place_refused(self, model: str) -> None:
        """Answer that the model has no place; at a drain nobody waits for one."""
        if self._router.draining:
            self._router.observer.refused("shutting_down")
            self.exchange_refused(shutting_down(unserved=True))
        else:
            self.exchange_refused(queue_full(model))

    def exchange_broken(self, end: str) -> None:
        """Close after what was relayed, without the end that a whole response has."""
        self.record.end(self.record.status, end)
        self._cut()

    def pause_request(self) -> None:
        """Read no more than the backend takes."""
        if self._stream is not None:
            self._paused = True
            self.transport.pause_reading()
            self._wait()

    def resume_request(self) -> None:
        """Read on what the backend takes."""
        stream = self._stream
        if stream is not None:
            self._paused = False
            self._resume_reading()
            self._read_on(stream)

    def request_sent(self) -> None:
        """Count what the backend has taken no more."""
        self._account()

    def upgraded(self) -> None:
        """Let through what comes, beginning with what came ahead."""
        self._stream = WebSocketStream(self._reader)
        self.resume_request()

    # Requests.

    def _serve_whole(self, data: bytes) -> bool:
        """Serve `data` if it is exactly one request: what `_advance` does, in fewer steps."""
        if self.transport.is_closing():
            return False
        table = self._router.table
        try:
            whole = self._reader.read_whole(data, table.max_body_bytes)
            if whole is None:
                return False
            self._head, body = whole
            self.record.begin(self._head)
            self._memo.admit(self._head, table)
        except ApiError as error:
            self._refuse(error)
            return True
        self._waiting = BACKEND
        self._deadline = math.inf
        self._dispatch(self._head, body)
        return True

    def _advance(self) -> None:
        """Read and answer requests until bytes are missing or an exchange runs."""
        self._read_requests()
        if not self._lingering:
            self._account_read()
        self._wait()

    def _read_requests(self) -> None:
        requests = 0
        try:
            while not self._exchange.active and not self._write_paused:
                if self._lingering or self.transport.is_closing():
                    return
                if self._refusal is not None:
                    self._refuse(self._refusal)
                    return
                if self._head is None:
                    if requests == limits.MAX_REQUESTS_A_TURN:
                        self._paused = True
                        self.transport.pause_reading()
                        self._advance_soon()
                        return
                    requests += 1
                    self._head = self._reader.read_head()
                    if self._head is None:
                        break
                    if not self._accept(self._head):
                        continue
                    self._stream = self._form_in(self._head)
                if self._stream is not None:
                    if self._pass_on(self._stream):
                        continue
                    break
                body = self._reader.read_body()
                if body is None:
                    if self._reader.large is not None:
                        self._take_in(self._reader.large)
                    elif self._reader.pending:
                        self._read_rest_soon()
                        return
                    break
                self._dispatch(self._head, body)
            else:
                return
        except ApiError as error:
            self._break_off(error)
            return
        if self._paused:
            self._paused = False
            self._resume_reading()

    def _take_in(self, body: LargeBody) -> None:
        # One that stands in already may hold what is not read yet.
        if self.transport.get_protocol() is self:
            self.transport.set_protocol(BodyIntake(self, body, self._router.work))

    def _advance_soon(self) -> None:
        # In its turn, so that a long pipeline does not keep others from theirs.
        self._router.work.put(self._advance)

    def _read_rest_soon(self) -> None:
        """Let others have their turn before more of what has come of a body is read."""
        self.transport.pause_reading()
        self._router.work.put(self._read_rest)

    def _read_rest(self) -> None:
        if self.transport.is_closing():
            return
        self._resume_reading()
        if self._stream is not None:
            self._read_on(self._stream)
        else:
            self._advance()

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
            self._exchange.answer(self, partial(look, self._memo.table, decision))
        elif isinstance(decision, MetricsPage):
            self._exchange.answer(self, self._router.metrics_page)
        else:
            self._answer(Page(200, decision.body))

    def _forward(self, route: Route, head: RequestHead, body: Body) -> None:
        if route.renames:
            body = rename(head, body, route.model)
        exchange = self._exchange
        exchange.start(self, head, body, route)
        if exchange.held_bytes or exchange.queued:
            self._check_waiting()

    def _check_waiting(self) -> None:
        """Refuse a request that has to wait where nothing may wait, or no more."""
        if self._router.draining:
            self._exchange.stop_waiting()
        if self._exchange.active and not (self._account() or self._account_less()):
            self._router.observer.refused("buffered_bytes")
            self._exchange.refuse(overloaded())

    def _answer(self, page: Page) -> None:
        close = self.wants_close()
        self._write_page(page, close, "complete")
        self._finish(close)

    # Requests that go on as they come.

    def _form_in(self, head: RequestHead) -> FormStream | None:
        """Return the form that follows `head`, if one does. Raises ApiError."""
        if head.boundary is None or not self._reader.has_body:
            return None
        return FormStream(head, head.boundary, self._reader, self._memo.table)

    def _read_on(self, stream: FormStream | WebSocketStream) -> None:
        try:
            self._pass_on(stream)
        except ApiError as error:
            self._break_off(error)
        if not self._lingering:
            self._account_read()
        self._wait()

    def _pass_on(self, stream: FormStream | WebSocketStream) -> bool:
        """Send on what has come, if the backend takes it. Raises ApiError.

        Answers False where more must come before there is a backend to send it to.
        """
        if self._exchange.active and self._paused:
            return True
        pieces = stream.read()
        self.record.bytes_in += sum(map(len, pieces))
        if stream.complete:
            self._stream = None
        if self._exchange.active:
            self._exchange.send_more(pieces, stream.complete)
        elif isinstance(stream, FormStream) and stream.route is not None:
            self._begin(stream, stream.route)
        if self._stream is not None and self._reader.pending:
            self._read_rest_soon()
        return self._stream is None or self._exchange.active

    def _begin(self, form: FormStream, route: Route) -> None:
        length, body = form.begin()
        self.record.bytes_in = len(body)
        is_open = not form.complete
        if is_open:
            self.pause_request()
        self._exchange.start(self, form.head, body, route, is_open, length)
        if self._exchange.held_bytes or self._exchange.queued:
            self._check_waiting()

    def _answer_error(self, error: ApiError) -> None:
        """Answer a request that was read to its end."""
        close = self.wants_close()
        self._write_error(error, close)
        self._finish(close)
