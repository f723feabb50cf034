"""The requests of one client, one after the other: each is read, routed and answered.

No phase is stored: each follows from the state of the session.

| phase | state of the session | then |
| --- | --- | --- |
| reading | no exchange, and a head or a body that is not whole | deciding |
| deciding | a whole request, or its head or form decides | answered here, or exchange |
| exchange | the exchange is active; of a form or a WebSocket, more is read for it | answered |
| answered | the response is written | reading; or the connection ends (see client_socket) |

A request that is malformed, or answered before its end, makes the connection linger. Pipelined
requests are answered in order and buffered up to a limit. While an exchange runs, reading goes on,
so that a client that disconnects is noticed; a streamed body (see relay.body_stream) is read only
as fast as the backend takes it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial

from llmhop import limits
from llmhop.client.client_socket import LINGERING
from llmhop.client.deadline import BACKEND
from llmhop.client.session import Session
from llmhop.errors import ApiError, overloaded, queue_full, shutting_down
from llmhop.http.body.large_body import Body
from llmhop.http.local_response import CONTINUE, LocalResponse
from llmhop.http.parsed_head import RequestHead
from llmhop.relay.body_stream import FormStream, WebSocketStream
from llmhop.routing.body_model import rename
from llmhop.routing.decision import Answer, MetricsPage, ReadinessQuery, Route


class RequestCycle:
    """Serves the requests of a session. Implements relay.downstream.Downstream."""

    __slots__ = (
        "_exchange",
        "_incoming",
        "_memo",
        "_record",
        "_server",
        "_socket",
        "session",
        "write",
    )

    write: Callable[[bytes], None]
    """Sends bytes to the client."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._server = session.server
        self._exchange = session.exchange
        self._incoming = session.incoming
        self._memo = session.memo
        self._record = session.record
        self._socket = session.socket

    def connected(self, transport: asyncio.Transport, address: str) -> None:
        """Begin to serve a client; its address is for the backend and the access log."""
        self.session.connected(transport, address)
        self.write = self.session.write

    # Reading.

    def receive(self, data: bytes) -> None:
        """Take bytes of requests; stop reading where a client sends too far ahead."""
        incoming, socket = self._incoming, self._socket
        if len(data) >= limits.MAX_BYTES_PER_PASS:
            socket.yield_reading()
            self._server.work.put(socket.read_on)
        if incoming.is_new and not socket.write_paused and self._serve_whole(data):
            return
        if incoming.body_unwanted:
            return
        self.session.deadline.received(len(data))
        incoming.reader.feed(data)
        if incoming.stream is not None:
            self._read_on(incoming.stream)
        elif not self._exchange.active and not socket.write_paused:
            self.advance()
        else:
            if len(incoming.reader.pending) > limits.MAX_PIPELINED_BYTES and not socket.paused:
                socket.pause_reading()
            self.session.account_read()
            self.session.wait()

    def body_received(self, count: int, complete: bool) -> None:
        """Take note of a piece of a large body, which was read into it."""
        self.session.deadline.received(count)
        if complete:
            self._socket.end_intake()
            self.advance()
        else:
            self._count_body()
            self.session.account_read()

    def _count_body(self) -> None:
        """Note how much has come of a body, which may be all that comes."""
        self._record.bytes_in = self._incoming.reader.body_bytes

    def _serve_whole(self, data: bytes) -> bool:
        """Serve `data` if it is exactly one request: what `advance` does, in fewer steps."""
        if self._socket.is_closing():
            return False
        incoming, table = self._incoming, self._server.table
        try:
            whole = incoming.reader.read_whole(data, table.max_body_bytes)
            if whole is None:
                return False
            head, body = whole
            incoming.head = head
            self._record.begin(head)
            self._record.bytes_in = len(body)
            self._record.client_name = self._memo.admit(head, table).name
        except ApiError as error:
            self.session.refuse(error)
            return True
        self.session.deadline.waits_for = BACKEND
        self.session.deadline.at = math.inf
        self._dispatch(head, body)
        return True

    def advance(self) -> None:
        """Read and answer requests until bytes are missing or an exchange runs."""
        self._read_requests()
        if self._socket.state != LINGERING:
            self.session.account_read()
        self.session.wait()

    def _read_requests(self) -> None:
        incoming, socket = self._incoming, self._socket
        requests = 0
        try:
            while not self._exchange.active and not socket.write_paused:
                if socket.state == LINGERING or socket.is_closing():
                    return
                if self.session.refusal is not None:
                    self.session.refuse(self.session.refusal)
                    return
                if incoming.head is None:
                    if requests == limits.MAX_REQUESTS_PER_PASS:
                        socket.pause_reading()
                        self._advance_soon()
                        return
                    requests += 1
                    incoming.head = incoming.reader.read_head()
                    if incoming.head is None:
                        break
                    if not self._accept(incoming.head):
                        continue
                    incoming.begin_form(incoming.head, self._memo)
                if incoming.stream is not None:
                    if self._pass_on(incoming.stream):
                        continue
                    break
                body = incoming.reader.read_body()
                if body is None:
                    self._count_body()
                    if incoming.reader.large is not None:
                        socket.begin_intake(incoming.reader.large, self._server.work)
                    elif incoming.reader.pending:
                        self._read_rest_soon()
                        return
                    break
                self._record.bytes_in = len(body)
                self._dispatch(incoming.head, body)
            else:
                return
        except ApiError as error:
            if incoming.head is not None:
                self._count_body()
            self.session.break_off(error)
            return
        if socket.paused:
            socket.resume_reading()

    def _advance_soon(self) -> None:
        # In a pass of its own, so that a long pipeline does not hold up other clients.
        self._server.work.put(self.advance)

    def _read_rest_soon(self) -> None:
        """Read more of what has come of a body in another pass of the event loop."""
        self._socket.yield_reading()
        self._server.work.put(self._read_rest)

    def _read_rest(self) -> None:
        if self._socket.is_closing():
            return
        self._socket.read_on()
        if self._incoming.stream is not None:
            self._read_on(self._incoming.stream)
        else:
            self.advance()

    def _accept(self, head: RequestHead) -> bool:
        """Decide by its head whether a request's body is wanted; answer it if not.

        Raises ApiError where the body would still come.
        """
        self._record.begin(head)
        reader = self._incoming.reader
        try:
            self._record.client_name = self._memo.admit(head, self._server.table).name
        except ApiError as error:
            if reader.has_body:
                raise
            self._answer_error(error)
            return False
        is_early = reader.has_body and not reader.has_whole_body
        if is_early and (decision := self._memo.decide_by_head(head)) is not None:
            self._count_body()
            self._incoming.body_unwanted = True
            self.session.drop_input()
            self._answer_with(decision)
            return False
        reader.start_body(head, self._memo.table.max_body_bytes)
        if head.expect_continue and reader.awaits_body:
            self.write(CONTINUE)
        return True

    # Deciding.

    def _dispatch(self, head: RequestHead, body: Body) -> None:
        try:
            decision = self.session.decide(head, body)
        except ApiError as error:
            self._answer_error(error)
            return
        if isinstance(decision, Route):
            if decision.renames:
                body = rename(head, body, decision.model)
            self._exchange.start(self, head, body, decision)
            self._check_waiting()
        else:
            self._answer_with(decision)

    def _answer_with(self, decision: Answer | MetricsPage | ReadinessQuery) -> None:
        if isinstance(decision, ReadinessQuery):
            look = self._server.readiness.answer
            self._exchange.answer(self, partial(look, self._memo.table, decision))
        elif isinstance(decision, MetricsPage):
            self._exchange.answer(self, self._server.metrics_page)
        else:
            self._answer(LocalResponse(decision.status, decision.body, fields=decision.fields))

    def _check_waiting(self) -> None:
        """Refuse a request that has to wait where nothing may wait, or no more."""
        exchange = self._exchange
        if not exchange.waits:
            return
        if self._server.draining:
            exchange.stop_waiting()
        if exchange.active and not (self.session.account() or self.session.account_less()):
            self._server.observer.refused("buffered_bytes")
            exchange.refuse(overloaded())

    # Requests that go on as they come.

    def _read_on(self, stream: FormStream | WebSocketStream) -> None:
        try:
            self._pass_on(stream)
        except ApiError as error:
            self._count_body()
            self.session.break_off(error)
        if self._socket.state != LINGERING:
            self.session.account_read()
        self.session.wait()

    def _pass_on(self, stream: FormStream | WebSocketStream) -> bool:
        """Send on what has come, if the backend takes it. Raises ApiError.

        Answers False where more must come before there is a backend to send it to.
        """
        exchange, incoming = self._exchange, self._incoming
        if exchange.active and self._socket.paused:
            return True
        pieces = stream.read()
        if isinstance(stream, FormStream):
            self._count_body()
        else:
            self._record.bytes_in += sum(map(len, pieces))
        if stream.complete:
            incoming.stream = None
        if exchange.active:
            exchange.send_more(pieces, stream.complete)
        elif isinstance(stream, FormStream) and stream.route is not None:
            self._begin(stream, stream.route)
        if incoming.stream is not None and incoming.reader.pending:
            self._read_rest_soon()
        return incoming.stream is None or exchange.active

    def _begin(self, form: FormStream, route: Route) -> None:
        self.session.enter_quota()
        length, body = form.begin()
        if not form.complete:
            self.pause_request()
        self._exchange.start(self, form.head, body, route, is_open=not form.complete, length=length)
        self._check_waiting()

    # What the exchange calls.

    def unsent_bytes(self) -> int:
        """How much of what was written the client has not taken."""
        return self._socket.unsent_bytes()

    def wants_close(self) -> bool:
        """Whether the connection is to end with the response, as where that came too early."""
        head, is_cut = self._incoming.head, self._incoming.is_unfinished
        return head is None or head.close or self._server.draining or is_cut

    def exchange_done(self, close: bool) -> None:
        """Go on with the next request, or close."""
        incoming, socket = self._incoming, self._socket
        if socket.takes_writes():
            self._record.end(self._record.status, "complete")
        if incoming.stream is not None and not isinstance(incoming.stream, WebSocketStream):
            self.session.linger()
            return
        # At a drain, a client that was not told to close and has sent more is served once more.
        self.session.finish(close)
        if self._server.draining and not close and not incoming.reader.pending:
            self.session.end_kept()
        if incoming.reader.pending or socket.paused or self.session.refusal is not None:
            self._advance_soon()

    def exchange_answered(self, response: LocalResponse) -> None:
        """Answer with what took a while to find out."""
        self._answer(response)
        self._advance_soon()

    def exchange_refused(self, error: ApiError) -> None:
        """Answer with an error."""
        if self._incoming.stream is not None:
            self.session.refuse(error)
            return
        self._answer_error(error)
        self._advance_soon()

    def place_refused(self, model: str) -> None:
        """Answer that the model has no place; at a drain nobody waits for one."""
        if self._server.draining:
            self._server.observer.refused("shutting_down")
            self.exchange_refused(shutting_down(unserved=True))
        else:
            self.exchange_refused(queue_full(model))

    def exchange_broken(self, end: str) -> None:
        """Close after what was relayed, without the end that a whole response has."""
        self._record.end(self._record.status, end)
        self.session.cut()

    def arm_reset(self) -> None:
        """Make any close of the connection a reset, unlike the end of a response."""
        self._socket.arm_reset()

    def disarm_reset(self) -> None:
        """Close as usual."""
        self._socket.disarm_reset()

    def pause_request(self) -> None:
        """Read no more than the backend takes."""
        if self._incoming.stream is not None:
            self._socket.pause_reading()
            self.session.wait()

    def resume_request(self) -> None:
        """Read on what the backend takes."""
        stream = self._incoming.stream
        if stream is not None:
            self._socket.resume_reading()
            self._read_on(stream)

    def request_sent(self) -> None:
        """Count what the backend has taken no more."""
        self.session.account()

    def upgraded(self) -> None:
        """Stream what is received, beginning with what was received ahead."""
        self._incoming.upgrade()
        self._socket.half_close_ends = False
        self.resume_request()

    # Answers of llmhop's own, and how a request ends.

    def _answer(self, response: LocalResponse) -> None:
        close = self.wants_close()
        self.session.write_response(response, close, "complete")
        self.session.finish(close)

    def _answer_error(self, error: ApiError) -> None:
        """Answer a request that was read to its end."""
        close = self.wants_close()
        self.session.write_error(error, close)
        self.session.finish(close)
