"""One request on its way to a backend, and the response on its way back.

Its states, and what may follow each:

| state | what goes on | then |
| --- | --- | --- |
| IDLE | nothing | SENDING by `start`, ANSWERING by `answer` |
| ANSWERING | a task finds out what llmhop itself answers | IDLE |
| SENDING | the request is on its way (see upstream_request), nothing was relayed | INTERIM, \
RELAYING, IDLE |
| INTERIM | a 1xx response was relayed | RELAYING, IDLE |
| RELAYING | the final head was relayed, and the body is | IDLE |

Until the head of the response was written, a failure becomes an error response; after that the
client's connection is closed, or reset where the end of it ends the response, so that it sees a
broken response and never a short one that looks whole.

Nothing is sent again after something of a response was relayed. No timer runs for a request: the
sweep asks it whether anything moved since the last time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from llmhop.errors import ApiError, backend_timeout, internal_error, queue_timeout
from llmhop.http.body.large_body import Body
from llmhop.http.local_response import LocalResponse, date_now
from llmhop.http.parsed_head import RequestHead, ResponseHead
from llmhop.limits import CLIENT_STALL_S
from llmhop.log.faults import log_fault
from llmhop.log.logger import log
from llmhop.models.models import Models
from llmhop.observe.request_record import RequestRecord
from llmhop.observe.usage import TAIL_BYTES
from llmhop.relay import rewrite
from llmhop.relay.downstream import Downstream
from llmhop.relay.head_memo import HeadMemo
from llmhop.relay.stall_timer import StallTimer
from llmhop.relay.upstream_request import CONNECTING, QUEUED, RequestOwner, UpstreamRequest
from llmhop.routing.decision import Route

# Plain numbers, because an Enum's members cost more to look up.
IDLE: Final = 0
ANSWERING: Final = 1
SENDING: Final = 2
INTERIM: Final = 3
RELAYING: Final = 4


class Exchange(RequestOwner):
    """Sends a request and relays its response; then it may be started again."""

    __slots__ = (
        "_close",
        "_downstream",
        "_ends_by_close",
        "_heads",
        "_http10",
        "_record",
        "_stall",
        "_task",
        "_upstream",
        "state",
    )

    # Set by `start` and `answer`. Let go at the end, so that the two are no cycle.
    __deletable__ = ("_downstream",)  # for mypyc
    _downstream: Downstream

    def __init__(self, heads: HeadMemo, record: RequestRecord, models: Models) -> None:
        """`heads` writes what stands before a body; `record` is that of the current request."""
        self.state = IDLE
        self._heads = heads
        self._record = record
        self._stall = StallTimer()
        self._upstream = UpstreamRequest(heads, record, models, self._stall)
        self._task: asyncio.Task[LocalResponse] | None = None
        self._http10 = self._close = False
        self._ends_by_close = False

    # What the client's side asks for.

    def start(
        self,
        downstream: Downstream,
        request: RequestHead,
        body: Body,
        route: Route,
        *,
        is_open: bool = False,
        length: int | None = None,
    ) -> None:
        """Send a request to a replica of the route's model, once the gate lets it in.

        `body` is what the backend gets. Where the request `is_open`, it is the first part: there is
        more for `send_more` from `resume_request` on until `pause_request`, and `length` bytes in
        all, where that is known.
        """
        self.state = SENDING
        self._downstream = downstream
        self._record.model = route.model
        self._http10 = request.http10
        self._stall.moved = True
        self._upstream.start(self, request, body, route, is_open=is_open, length=length)

    def answer(
        self, downstream: Downstream, work: Callable[[], Coroutine[Any, Any, LocalResponse]]
    ) -> None:
        """Answer with what `work` finds out."""
        self.state = ANSWERING
        self._downstream = downstream
        self._task = task = asyncio.get_running_loop().create_task(work())
        task.add_done_callback(self._answered)

    @property
    def active(self) -> bool:
        """Whether a response is still to come, or more of it."""
        return self.state != IDLE

    @property
    def head_sent(self) -> bool:
        """Whether the client got the head of the response."""
        return self.state == RELAYING

    @property
    def queued(self) -> bool:
        """Whether the request waits at the gate."""
        return self._upstream.state == QUEUED

    @property
    def waits(self) -> bool:
        """Whether the request is not all with a backend yet."""
        upstream = self._upstream
        return upstream.body.held_bytes > 0 or upstream.state == QUEUED

    @property
    def held_bytes(self) -> int:
        """How much of the request's body is in memory: until the backend has taken it.

        Longer where another replica may get it too.
        """
        return self._upstream.body.held_bytes

    def pause(self) -> None:
        """The client reads too slowly: take no more from the backend for now."""
        self._upstream.pause_response()

    def resume(self) -> None:
        """The client has caught up."""
        self._upstream.resume_response()

    def send_more(self, pieces: list[bytes], last: bool) -> None:
        """Send more of an open request, at its end with `last`."""
        self._upstream.send_more(pieces, last)

    def end_stream(self) -> bool:
        """Send the backend the end of the stream; return whether the connection allows that."""
        return self._upstream.end_stream()

    def drop_copy(self) -> None:
        """Keep nothing of what was sent, which then is not sent again."""
        self._upstream.drop_copy()

    def stop_waiting(self) -> None:
        """Have a request that waits at the gate go on at once, or be refused."""
        self._upstream.stop_waiting()

    def refuse(self, error: ApiError) -> None:
        """Answer with an error in place of what the backend would; only before that began.

        No backend gets the whole request, if it has not got it yet.
        """
        self._abandon()
        self.request_refused(error)

    def cancel(self) -> None:
        """The client went: stop the backend's work at once."""
        self._abandon()
        self._end()

    def wait_for_client(self, now: float) -> None:
        """Suspend the backend's timeouts while more of the request is to come from the client."""
        self._stall.restart(now)

    def check_deadline(self, now: float) -> None:
        """End what takes too long; called by the sweep."""
        upstream, stall = self._upstream, self._stall
        if self.state == ANSWERING or upstream.state == CONNECTING:  # timed themselves
            stall.moved = True
        waited = stall.stalled_for(now)
        if not waited:
            return
        served = upstream.choice.model
        config, model = served.config, served.name
        if upstream.state == QUEUED:
            if waited >= config.queue_timeout:
                self.request_refused(queue_timeout(model))
        elif upstream.paused:
            unsent = self._downstream.unsent_bytes()
            if not stall.client_takes(unsent, now) and waited >= CLIENT_STALL_S:
                upstream.abort()
                log(f"client of model {model!r} took nothing for {CLIENT_STALL_S:g} s")
                self._end().exchange_broken("client_stalled")
        elif self.state == RELAYING:
            if waited < config.read_timeout:
                return
            is_stalled = upstream.stalled
            upstream.abort()
            if self._record.status == 101 and not is_stalled:
                # Both sides may well have nothing to say, which is no failure of the backend.
                self._end().exchange_broken("idle")
                return
            act = "took" if is_stalled else "sent"
            reason = f"{act} nothing more for {config.read_timeout:g} s"
            upstream.log_failure(reason, "read_timeout")
            self._end().exchange_broken("backend_stalled")
        elif waited >= config.response_timeout:
            upstream.abort()
            upstream.choice.pool.connection_failed()
            reason = f"sent no response for {config.response_timeout:g} s"
            upstream.log_failure(reason, "response_timeout")
            self.request_refused(backend_timeout(model))

    # What the request on its way to a replica calls.

    def request_refused(self, error: ApiError) -> None:
        """Answer with an error."""
        self._end().exchange_refused(error)

    def place_refused(self) -> None:
        """Answer that the model has no place."""
        self._end().place_refused(self._upstream.choice.model.name)

    def request_sent(self) -> None:
        """Have the client's side count less of the request's body."""
        self._downstream.request_sent()

    def request_wanted(self) -> None:
        """Have the client's side send more of an open request."""
        self._downstream.resume_request()

    # What the connection to the backend calls.

    def pause_request(self) -> None:
        """Have the client's side pause, if it has more to send."""
        if self._upstream.body.open:
            self._downstream.pause_request()

    def resume_request(self) -> None:
        """Have the client's side go on, if it has more to send."""
        self._upstream.caught_up()

    def interim_head(self, head: ResponseHead) -> None:
        """Relay a 1xx response; 100 answers an Expect that llmhop took on itself."""
        if head.status != 100 and not self._http10:
            self.state = INTERIM
            self._downstream.write(rewrite.interim_head(head))

    def response_head(
        self, head: ResponseHead, length: int | None, body: bytes, complete: bool
    ) -> None:
        """Relay the final head and the first part of the body."""
        upstream, downstream = self._upstream, self._downstream
        if head.unserved and self.state == SENDING:
            upstream.skip_replica(head, complete)
            return
        decoded = self._http10
        ends_with_connection = not complete and not head.framed
        self._close = close = downstream.wants_close() or decoded or ends_with_connection
        self.state = RELAYING
        self._stall.moved = True
        if upstream.response_started():
            downstream.request_sent()
        record = self._record
        record.response_started(head, body, complete)
        date = b"" if head.dated else date_now()
        start = rewrite.response_head(
            head,
            length,
            record.request_id,
            date,
            decoded=decoded,
            close=close,
            cors=self._heads.cors,
        )
        downstream.write(start + body)
        if complete:
            self._done()
            return
        if head.status == 101 and upstream.upgraded():
            downstream.upgraded()
        elif ends_with_connection or (decoded and head.chunked):
            self._ends_by_close = True
            downstream.arm_reset()

    def response_piece(self, data: bytes) -> None:
        """Relay the next part of the body, after which there is more."""
        self._stall.moved = True
        record = self._record
        size = len(data)
        record.bytes_out += size
        if record.last is not None:
            record.last.append(data if size <= TAIL_BYTES else data[-TAIL_BYTES:])
        self._downstream.write(data)

    def response_body(self, data: bytes, complete: bool) -> None:
        """Relay the next part of the body, perhaps the last one."""
        if data:
            self.response_piece(data)
        if complete:
            self._done()

    def response_failed(self, reason: str, kind: str) -> None:
        """Try again if that is allowed, else tell the client as well as can be; log the reason."""
        upstream = self._upstream
        upstream.response_failed(reason, kind)
        if self.state == RELAYING:
            self._end().exchange_broken("backend_broke")
        elif self.state == INTERIM or not upstream.retry():
            self.request_refused(upstream.choice.error())

    # The end.

    def _answered(self, task: asyncio.Task[LocalResponse]) -> None:
        if task is not self._task or task.cancelled():
            return
        self._task = None
        error = task.exception()
        if error is not None:
            log_fault("a request", error)
            self.request_refused(internal_error())
        else:
            self._end().exchange_answered(task.result())

    def _done(self) -> None:
        was_ended_by_close, self._ends_by_close = self._ends_by_close, False
        downstream = self._end()
        if was_ended_by_close:
            downstream.disarm_reset()
        downstream.exchange_done(self._close)

    def _abandon(self) -> None:
        """Release what could still bring a response."""
        if self.state == ANSWERING:
            if self._task is not None:
                self._task.cancel()
                self._task = None
        else:
            self._upstream.abandon()

    def _end(self) -> Downstream:
        """Release everything; the next request at the gate is admitted."""
        downstream = self._downstream
        del self._downstream
        self._ends_by_close = False
        state, self.state = self.state, IDLE
        if state != ANSWERING:
            self._upstream.end()
        return downstream
