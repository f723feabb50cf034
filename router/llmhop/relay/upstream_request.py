"""A request on its way to a replica: the gate, the choice, the connection, and its end.

Its states, and what may follow each:

| state | what is there | then |
| --- | --- | --- |
| IDLE | nothing, or a replica is about to be picked | QUEUED, CONNECTING, SENT |
| QUEUED | it waits at the gate | IDLE |
| CONNECTING | it waits for a connection to the replica that was picked | SENT, IDLE |
| SENT | a connection has it, and perhaps waits for more of its body | IDLE |

A replica that can't be reached got no byte of the request, so the next one is tried. What was sent
is sent again only where the config allows `retries`, an llmhop says that it could not serve it, or
`causes.may_go_on` says so.
"""

from __future__ import annotations

from typing import Final, Protocol

from llmhop.errors import ApiError, internal_error, overloaded
from llmhop.http.body.large_body import Body
from llmhop.http.parsed_head import RequestHead, ResponseHead
from llmhop.log.faults import log_fault
from llmhop.log.logger import log
from llmhop.models.gate import Gate
from llmhop.models.models import Models
from llmhop.observe.request_record import RequestRecord
from llmhop.relay.causes import cause_of, cause_of_no_connection, cause_of_unserved, may_go_on
from llmhop.relay.head_memo import HeadMemo
from llmhop.relay.replica_choice import ReplicaChoice
from llmhop.relay.request_body import RequestBody
from llmhop.relay.stall_timer import StallTimer
from llmhop.routing.decision import Route
from llmhop.upstream.connection import ResponseSink, UpstreamConnection
from llmhop.upstream.pool import Attempt, ConnectionWaiter

# Plain numbers, because an Enum's members cost more to look up.
IDLE: Final = 0
QUEUED: Final = 1
CONNECTING: Final = 2
SENT: Final = 3


class RequestOwner(ResponseSink, Protocol):
    """Whoever sends a request and gets its response: the exchange."""

    __slots__ = ()

    def request_refused(self, error: ApiError) -> None:
        """No replica serves it."""

    def place_refused(self) -> None:
        """The gate has no place for it, nor in its queue."""

    def request_sent(self) -> None:
        """Less of its body is held, or no more."""

    def request_wanted(self) -> None:
        """The backend takes more of its body, which is open."""


class UpstreamRequest(ConnectionWaiter):
    """Sends an exchange's current request. Implements models.gate.Waiting.

    `body` is what the backend gets, and `choice` the replica that gets it. `paused` says that no
    more of the response is taken for now.
    """

    __slots__ = (
        "_attempt",
        "_connection",
        "_copy_dropped",
        "_gate",
        "_goes_on",
        "_heads",
        "_owner",
        "_record",
        "_request",
        "_retries",
        "_route",
        "_stall",
        "body",
        "choice",
        "paused",
        "state",
    )

    # Set by `start`. The owner is let go at the end, so that the two are no cycle.
    __deletable__ = ("_owner",)  # for mypyc
    _owner: RequestOwner
    _request: RequestHead
    _route: Route

    def __init__(
        self, heads: HeadMemo, record: RequestRecord, models: Models, stall: StallTimer
    ) -> None:
        self.state = IDLE
        self.body = RequestBody()
        self.choice = ReplicaChoice(models)
        self.paused = self._copy_dropped = self._goes_on = False
        self._heads = heads
        self._record = record
        self._stall = stall
        self._gate: Gate | None = None
        self._attempt: Attempt | None = None
        self._connection: UpstreamConnection | None = None
        self._retries = 0

    def start(
        self,
        owner: RequestOwner,
        request: RequestHead,
        body: Body,
        route: Route,
        *,
        is_open: bool,
        length: int | None,
    ) -> None:
        """Send a request to a replica of the route's model, once the gate lets it in."""
        self._owner, self._request, self._route = owner, request, route
        self.body.start(body, is_open=is_open, length=length)
        self.choice.start(route)
        self.paused = self._copy_dropped = False
        model = self.choice.model
        self._retries = model.retries
        if model.gate is None:
            self._try_next()
        else:
            self._enter_gate(model.gate)

    def _enter_gate(self, gate: Gate) -> None:
        if gate.enter():
            self._gate = gate
            self._try_next()
        elif gate.wait(self):
            self._gate = gate
            self.state = QUEUED
            self._record.queued()
            if self._request.via_llmhop and self.choice.model.has_peers:
                # It holds a place there, for which a request from here may wait.
                gate.stop_waiting(self)
        else:
            self._owner.place_refused()

    def admitted(self) -> None:
        """Go on with a request that waited at the gate."""
        self.state = IDLE
        self._record.admitted()
        self._stall.moved = True
        self._try_next()
        self._report_taken()

    def refused(self) -> None:
        """Answer a request that gets no place, as turns out only now."""
        self.state = IDLE
        self._gate = None
        self._owner.place_refused()

    def _try_next(self) -> None:
        pool = self.choice.pick()
        if pool is None:
            self._owner.request_refused(self.choice.error())
            return
        self._record.backend = pool.name
        connection = pool.acquire()
        if connection is not None:
            self._send(connection)
        else:
            self._record.connecting()
            self.state = CONNECTING
            self._attempt = pool.connect(self)

    # What an attempt to connect calls.

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the request."""
        self._attempt = None
        self._record.connected_backend()
        self._send(connection)
        self._report_taken()

    def connect_failed(self, reason: str, kind: str) -> None:
        """Go on to the next replica."""
        self._attempt = None
        self.state = IDLE
        self.choice.failed(cause_of_no_connection(kind))
        self.log_failure(reason, kind)
        self.choice.release()
        self._try_next()

    def connect_short(self, reason: str) -> None:
        """Answer that this host has too much to do; of another replica it has no less."""
        self._attempt = None
        self.state = IDLE
        log(f"no connection to a backend can be opened: {reason}")
        self._owner.request_refused(overloaded())

    def connect_broken(self, error: BaseException) -> None:
        """Answer that llmhop itself is at fault."""
        self._attempt = None
        self.state = IDLE
        log_fault("a request", error)
        self._owner.request_refused(internal_error())

    def _send(self, connection: UpstreamConnection) -> None:
        body, choice, owner, request = self.body, self.choice, self._owner, self._request
        id_, place = self._record.request_id, choice.place
        if body.streamed:
            head = self._heads.streamed_head(request, self._route, place, body.length, id_)
            self._retries = 0  # what comes after the first part is not there a second time
        else:
            size = len(body.data)
            head = self._heads.request_head(request, self._route, place, size, id_)
        self._connection = connection
        self.state = SENT
        self._stall.moved = True
        connection.send(
            (head, body.next_part(self._is_repeatable())),
            owner,
            head_only=request.method == b"HEAD",
            decode=request.http10,
            websocket=request.websocket,
            request_open=body.open,
        )
        if self.paused:
            connection.pause_reading(owner)
        if not connection.stalled:
            body.taken()
            if body.open:
                owner.request_wanted()

    @property
    def stalled(self) -> bool:
        """Whether what was sent waits for the backend to take it."""
        return self._connection is not None and self._connection.stalled

    def _is_repeatable(self) -> bool:
        return self._retries > 0 or not self.choice.model.is_single

    def _report_taken(self) -> None:
        """Report a body that was sent since `start`."""
        if self.state != IDLE and self.body.is_taken:
            self._owner.request_sent()

    # More of an open request.

    def send_more(self, pieces: list[bytes], last: bool) -> None:
        """Send more of an open request, at its end with `last`."""
        connection = self._connection
        if connection is None:  # the response failed meanwhile
            return
        self._stall.moved = True
        self.body.append(pieces)
        connection.send_more(self._owner, pieces, last)
        if last:
            self.body.open = False

    def end_stream(self) -> bool:
        """Send the backend the end of the stream; return whether the connection allows that."""
        return self._connection is not None and self._connection.end_stream(self._owner)

    def caught_up(self) -> None:
        """The backend has taken what was sent, and takes more."""
        self.body.taken()
        self._report_taken()
        if self.body.open:
            self._owner.request_wanted()

    # What its owner asks for.

    def pause_response(self) -> None:
        """Take no more of the response for now."""
        self.paused = self._stall.moved = True
        if self._connection is not None:
            self._connection.pause_reading(self._owner)

    def resume_response(self) -> None:
        """Take more of the response again."""
        self.paused = False
        self._stall.moved = True
        if self._connection is not None:
            self._connection.resume_reading(self._owner)

    def drop_copy(self) -> None:
        """Keep nothing of what was sent, which then is not sent again."""
        connection = self._connection
        if connection is None:
            return
        self._copy_dropped = True
        self._retries = 0
        self.body.forget()
        if not connection.stalled:
            self.body.taken()

    def stop_waiting(self) -> None:
        """Go on at once if it waits at the gate, or be refused."""
        if self.state == QUEUED and self._gate is not None:
            self._gate.stop_waiting(self)

    # What came of it.

    def response_started(self) -> bool:
        """Send it no more: its response began. Answers whether less of its body may be held."""
        self.choice.answered()
        if not self._is_repeatable():
            return False
        self.body.forget()
        if self._connection is None or not self._connection.stalled:
            self.body.taken()
        return True

    def upgraded(self) -> bool:
        """Have its body open again, after a 101; answer whether the connection is still there."""
        if self._connection is not None:
            self.body.open = True
            self._connection.upgraded(self._owner)
        return self._connection is not None

    def response_failed(self, reason: str, kind: str) -> None:
        """Note and log that there is no more of its response; `kind` is as in `cause_of`."""
        silent = self._connection is not None and self._connection.is_silent()
        self._connection = None
        self.state = IDLE
        self.log_failure(reason, kind)
        cause = cause_of(kind, silent, self._stall.stalled_s)
        self.choice.failed(cause)
        self._goes_on = may_go_on(cause, self._request, not self.body.is_empty)

    def retry(self) -> bool:
        """Send it once more, if that is allowed."""
        if not self._retries and not self._goes_on:
            return False
        self.choice.release()
        if self._retries:
            self._retries -= 1
            self.choice.retry_all()
        self._try_next()
        self._report_taken()
        return True

    def skip_replica(self, head: ResponseHead, complete: bool) -> None:
        """Go on to the next replica after an llmhop that could not serve it."""
        choice = self.choice
        if not complete:
            self.abort()
        self._connection = None
        self.state = IDLE
        cause, reason = cause_of_unserved(head.unserved)
        choice.failed(cause)
        if reason is None:
            self._record.backend_failed("unserved")
        else:
            self.log_failure(reason, "unserved")
            choice.replica.unserved()
        choice.release()
        if self._copy_dropped or not self.body.rewind():
            self._owner.request_refused(choice.error())
            return
        if self.body.open:
            self._owner.pause_request()
        self._try_next()

    def log_failure(self, reason: str, kind: str) -> None:
        """Log and count what the replica did; `kind` is one of metric_layout.FAILURES."""
        choice, id_ = self.choice, self._record.request_id.decode()
        self._record.backend_failed(kind)
        which = f"backend of model {choice.model.name!r} at {choice.pool.origin}"
        log(f"{which} {reason}", f"; request {id_!r}")

    # How it is let go.

    def abandon(self) -> None:
        """Release what could still bring a response."""
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        self.abort()

    def abort(self) -> None:
        """Release the connection that has it."""
        if self._connection is not None:
            self._connection.cancel(self._owner)
            self._connection = None

    def end(self) -> None:
        """Release everything; the next request at the gate is admitted."""
        del self._owner
        self._connection = None
        self.body.clear()
        self.choice.release()
        was_queued = self.state == QUEUED
        self.state = IDLE
        gate, self._gate = self._gate, None
        if gate is not None:
            if was_queued:
                gate.forget(self)
            else:
                gate.leave()
