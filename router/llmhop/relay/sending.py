"""A request on its way to a replica: its turn, the choice, the connection, and how it is let go.

A replica that can't be reached got no byte of the request, so the next one is tried. What was sent
is sent again only where the config allows `retries`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from llmhop.backend.backends import Backend
from llmhop.backend.gate import Gate
from llmhop.errors import (
    BUSY,
    LOOP,
    NO_MODEL,
    ApiError,
    internal_error,
    overloaded,
)
from llmhop.http.body.large_body import Body
from llmhop.http.head import RequestHead, ResponseHead
from llmhop.limits import MAX_HELD_FORM_BYTES
from llmhop.log.faults import log_fault
from llmhop.log.logger import log
from llmhop.observe.request_record import RequestRecord
from llmhop.origin.connection import ResponseSink, UpstreamConnection
from llmhop.origin.pool import Attempt, ConnectionWaiter, Pool
from llmhop.relay.causes import FULL, LOOPED, UNREACHED, error_for
from llmhop.relay.downstream import Downstream, Heads
from llmhop.routing.table import Route

_ANSWERS: Final = {
    LOOP: "answered that the request came in a loop or through too many llmhops",
    NO_MODEL: "is an llmhop that has no such model",
}


class Sending(ResponseSink, ConnectionWaiter):
    """What Exchange stands on. Implements backend.gate.Waiting.

    `active` says that a response is still to come.
    """

    __slots__ = (
        "_attempt",
        "_backend",
        "_body",
        "_body_bytes",
        "_cause",
        "_close",
        "_connection",
        "_downstream",
        "_dropped",
        "_ends_by_close",
        "_gate",
        "_head_sent",
        "_heads",
        "_held",
        "_held_bytes",
        "_length",
        "_moved",
        "_paused",
        "_pool",
        "_queued",
        "_record",
        "_relayed",
        "_replica",
        "_request",
        "_request_open",
        "_retries",
        "_route",
        "_served",
        "_since",
        "_streamed",
        "_task",
        "_tried",
        "_unsent",
        "active",
    )

    # Set by `start`. The client's side is let go at the end, so that the two are no cycle.
    __deletable__ = ("_downstream",)  # for mypyc
    _downstream: Downstream
    _heads: Heads
    _record: RequestRecord
    _request: RequestHead
    _route: Route
    _backend: Backend
    _replica: int

    def __init__(self) -> None:
        self._connection: UpstreamConnection | None = None
        self._attempt: Attempt | None = None
        self._task: asyncio.Task[Any] | None = None
        self._pool: Pool | None = None
        self._gate: Gate | None = None
        self._body: Body = b""
        self._body_bytes = 0
        self._served: Route | None = None  # whose backend `_backend` is
        self._queued = self._relayed = self._head_sent = self._paused = self._close = False
        self._dropped = False
        self._tried = self._retries = self._cause = 0
        self._streamed = self._moved = self._request_open = self._ends_by_close = False
        self._length: int | None = None
        self._held: list[bytes] | None = None  # what was sent of a form, while it may be sent again
        self._held_bytes = 0
        self._since = 0.0
        self._unsent = 0
        self.active = False

    def _enter_gate(self, gate: Gate) -> None:
        if gate.enter():
            self._gate = gate
            self._try_next()
        elif gate.wait(self):
            self._gate = gate
            self._queued = True
            self._record.queued()
            if self._request.via_llmhop and self._backend.has_peers:
                # It holds a place there, for which a request from here may wait.
                gate.stop_waiting(self)
        else:
            self._end().place_refused(self._backend.model)

    def admitted(self) -> None:
        """Go on with a request that waited at the gate."""
        self._queued = False
        self._record.admitted()
        self._moved = True
        self._try_next()
        self._notify_sent()

    def refused(self) -> None:
        """Answer a request that gets no place, as turns out only now."""
        self._queued = False
        self._gate = None
        self._end().place_refused(self._backend.model)

    def _try_next(self) -> None:
        backend = self._backend
        if backend.is_single and not self._tried:
            replica = 0
        else:
            picked = backend.pick(self._tried)
            if picked is None:
                self._refuse(self._unreachable())
                return
            replica = picked
        self._tried |= 1 << replica
        self._replica = replica
        self._pool = pool = backend.pools[replica]
        pool.outstanding += 1
        self._record.backend = pool.name
        connection = pool.acquire()
        if connection is not None:
            self._send(connection)
        else:
            self._record.connecting()
            self._attempt = pool.connect(self)

    def _unreachable(self) -> ApiError:
        return error_for(self._cause, self._backend)

    # What an attempt to connect calls.

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the request."""
        self._attempt = None
        self._record.connected_backend()
        self._send(connection)
        self._notify_sent()

    def connect_failed(self, reason: str, kind: str) -> None:
        """Go on to the next replica."""
        self._attempt = None
        self._cause = max(self._cause, UNREACHED)
        self._log(reason, kind)
        self._release_replica()
        self._try_next()

    def connect_short(self, reason: str) -> None:
        """Answer that this host has too much to do; of another replica it has no less."""
        self._attempt = None
        log(f"no connection to a backend can be opened: {reason}")
        self._refuse(overloaded())

    def connect_broken(self, error: BaseException) -> None:
        """Answer that llmhop itself is at fault."""
        self._attempt = None
        self._fail(error)

    def _skip_replica(self, head: ResponseHead, complete: bool) -> None:
        """Go on to the next replica after an llmhop that could not serve the request."""
        if not complete:
            self._abort()
        self._connection = None
        why, backend = head.unserved, self._backend
        if why == BUSY:
            self._cause = max(self._cause, FULL)
            self._record.backend_failed("unserved")  # no news for the log
        else:
            self._cause = max(self._cause, LOOPED if why == LOOP else UNREACHED)
            self._log(_ANSWERS.get(why, "is an llmhop that can't reach its backend"), "unserved")
            backend.replicas[self._replica].unserved()
        self._release_replica()
        if self._dropped:
            self._refuse(self._unreachable())
            return
        if self._streamed:
            held, self._held = self._held, None
            if held is None:
                self._refuse(self._unreachable())
                return
            self._body = b"".join(held)
            self._body_bytes = len(self._body)
            if self._request_open:
                self._downstream.pause_request()
        self._try_next()

    def _send(self, connection: UpstreamConnection) -> None:
        body, request = self._body, self._request
        backend = self._backend
        id_, place = self._record.request_id, backend.places[self._replica]
        is_single = backend.is_single
        if self._streamed:
            head = self._heads.streamed_head(request, self._route, place, self._length, id_)
            self._retries = 0  # what comes after the first part is not there a second time
            if not is_single:
                self._held_bytes = len(body)
                self._held = [bytes(body)] if len(body) <= MAX_HELD_FORM_BYTES else None
            self._body = b""
        else:
            head = self._heads.request_head(request, self._route, place, len(body), id_)
            if is_single and not self._retries:
                self._body = b""  # from here on the connection holds it, as long as it must
        self._connection = connection
        self._moved = True
        connection.send(
            (head, body),
            self,
            request.method == b"HEAD",
            request.http10,
            request.websocket,
            self._request_open,
        )
        if self._paused:
            connection.pause_reading(self)
        if not connection.stalled:
            if not self._body:
                self._body_bytes = 0
            if self._request_open:
                self._downstream.resume_request()

    def _notify_sent(self) -> None:
        """Tell the client's side of a body that has left since `start`."""
        if self.active and not self._body_bytes:
            self._downstream.request_sent()

    # More of an open request.

    @property
    def head_sent(self) -> bool:
        """Whether the client got the head of the response."""
        return self._head_sent

    def send_more(self, pieces: list[bytes], last: bool) -> None:
        """Send more of an open request, at its end with `last`."""
        connection = self._connection
        if connection is None:  # the response failed meanwhile
            return
        self._moved = True
        if self._held is not None:
            self._held_bytes += sum(map(len, pieces))
            self._held += pieces
            if self._held_bytes > MAX_HELD_FORM_BYTES:
                self._held = None
        connection.send_more(self, pieces, last)
        if last:
            self._request_open = False

    def end_stream(self) -> bool:
        """Tell the backend that no more comes; answer whether it can be told so."""
        return self._connection is not None and self._connection.end_stream(self)

    def pause_request(self) -> None:
        """Have the client's side pause, if it has more to send."""
        if self._request_open:
            self._downstream.pause_request()

    def resume_request(self) -> None:
        """Have the client's side go on, if it has more to send."""
        if not self._body:
            self._body_bytes = 0
            self._notify_sent()
        if self._request_open:
            self._downstream.resume_request()

    # What the client's side asks for.

    @property
    def held_bytes(self) -> int:
        """How much of the request's body is in memory: until the backend has taken it.

        Longer where another replica may get it too.
        """
        return self._body_bytes if self._held is None else max(self._body_bytes, self._held_bytes)

    def drop_copy(self) -> None:
        """Keep nothing of what was sent, which then is not sent again."""
        connection = self._connection
        if connection is None:
            return
        self._dropped = True
        self._retries = 0
        self._held = None
        self._body = b""
        if not connection.stalled:
            self._body_bytes = 0

    @property
    def queued(self) -> bool:
        """Whether it waits at the gate."""
        return self._queued

    def stop_waiting(self) -> None:
        """Have a request that waits at the gate go on at once, or be refused."""
        if self._queued and self._gate is not None:
            self._gate.stop_waiting(self)

    def refuse(self, error: ApiError) -> None:
        """Answer with an error in place of what the backend would; only before that began.

        No backend gets the whole request, if it has not got it yet.
        """
        self._let_go()
        self._refuse(error)

    # How it is let go.

    def _let_go(self) -> None:
        """Let go of what could still bring a response."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        self._abort()

    def _abort(self) -> None:
        if self._connection is not None:
            self._connection.cancel(self)
            self._connection = None

    def _release_replica(self) -> None:
        if self._pool is not None:
            self._pool.outstanding -= 1
            self._pool = None

    def _end(self) -> Downstream:
        """Let go of everything; who waits at the gate comes next."""
        downstream = self._downstream
        del self._downstream
        self._body = b""
        self._held = None
        self._body_bytes = 0
        self._ends_by_close = False
        self.active = False
        self._release_replica()
        if self._gate is not None:
            self._leave_gate(self._gate)
        return downstream

    def _leave_gate(self, gate: Gate) -> None:
        self._gate = None
        if self._queued:
            self._queued = False
            gate.forget(self)
        else:
            gate.leave()

    def _log(self, reason: str, kind: str) -> None:
        origin = self._backend.pools[self._replica].origin
        self._record.backend_failed(kind)
        id_ = self._record.request_id.decode()
        log(f"backend of model {self._backend.model!r} at {origin} {reason}", f"; request {id_!r}")

    def _fail(self, error: BaseException) -> None:
        """Answer where llmhop itself is at fault."""
        log_fault("a request", error)
        self._refuse(internal_error())

    def _refuse(self, error: ApiError) -> None:
        self._end().exchange_refused(error)
