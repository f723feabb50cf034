"""One request on its way to a backend, and the response on its way back.

Until the head of the response was written, a failure becomes an error response; after that the
client's connection is closed, so that it sees a broken response and never a short one that looks
whole.

A replica that can't be reached got no byte of the request, so the next one is tried. What was sent
is sent again only where the config allows `retries`, and never after something of a response was
relayed. No timer runs for a request: the sweep asks it whether anything moved since the last time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from llmhop import rewrite
from llmhop.backends import Backend, Backends
from llmhop.errors import (
    ApiError,
    backend_error,
    backend_timeout,
    backend_unavailable,
    queue_full,
    queue_timeout,
)
from llmhop.gate import Gate
from llmhop.http_head import RequestHead, ResponseHead
from llmhop.limits import CLIENT_STALL_S
from llmhop.local_response import Page
from llmhop.log import log
from llmhop.pool import Pool
from llmhop.request_reader import Body
from llmhop.request_record import RequestRecord
from llmhop.routing import Route
from llmhop.upstream import UpstreamConnection


class Downstream(Protocol):
    """The client's side, as an exchange sees it."""

    @property
    def record(self) -> RequestRecord:
        """What is noted of the request."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Sends bytes to the client."""

    def unsent_bytes(self) -> int:
        """How much of what was written the client has not taken."""

    def wants_close(self) -> bool:
        """Whether the response must say that the connection is closed after it."""

    def exchange_done(self, close: bool) -> None:
        """The whole response was written."""

    def exchange_answered(self, page: Page) -> None:
        """There is a response of llmhop's own; nothing was written."""

    def exchange_refused(self, error: ApiError) -> None:
        """There is an error to answer with; nothing was written."""

    def exchange_broken(self, end: str) -> None:
        """The response broke off after its head was written; `end` is for the access log."""

    def request_wanted(self, wanted: bool) -> None:
        """The backend takes more of a request that is open, or takes no more for now."""

    def switched(self) -> None:
        """The connection became a WebSocket; from now on the request is open."""


class Heads(Protocol):
    """Writes the head that a replica gets."""

    def request_head(
        self, head: RequestHead, route: Route, replica: int, body_bytes: int, request_id: bytes
    ) -> bytes:
        """Return the head for the replica of this index."""

    def streamed_head(
        self,
        head: RequestHead,
        route: Route,
        replica: int,
        length: int | None,
        request_id: bytes,
    ) -> bytes:
        """Return the head before a body of this length, or before chunks where it is None."""


class Exchange:
    """Sends a request and relays its response; then it may be started again.

    Implements upstream.ResponseSink and gate.Waiting. `active` says that a response is still to
    come.
    """

    __slots__ = (
        "_backend",
        "_body",
        "_close",
        "_connection",
        "_downstream",
        "_gate",
        "_head_sent",
        "_heads",
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
        "_since",
        "_task",
        "_tried",
        "_unsent",
        "active",
    )

    # Set by `start`. The client's side is let go at the end, so that the two are no cycle.
    _downstream: Downstream
    _heads: Heads
    _record: RequestRecord
    _request: RequestHead
    _route: Route
    _backend: Backend
    _replica: int

    def __init__(self) -> None:
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._pool: Pool | None = None
        self._gate: Gate | None = None
        self._body: Body = b""
        self._route = cast(Route, None)  # that of no request
        self._queued = self._relayed = self._head_sent = self._paused = self._close = False
        self._tried = self._retries = 0
        self._moved = self._request_open = False
        self._length: int | None = None
        self._since = 0.0
        self._unsent = 0
        self.active = False

    def start(
        self,
        downstream: Downstream,
        heads: Heads,
        request: RequestHead,
        body: Body,
        route: Route,
        backends: Backends,
        request_open: bool = False,
        length: int | None = None,
    ) -> None:
        """Send a request to a replica of the route's backend, when it is its turn.

        `body` is what the backend gets, and `heads` writes what stands before it. Of an open
        request it is the first part: there is more for `send_more` whenever `request_wanted` says
        so, and `length` bytes in all, where that is known.
        """
        self.active = True
        self._downstream = downstream
        self._heads = heads
        self._record = downstream.record
        self._record.model = route.model
        self._request = request
        self._body = body
        self._request_open = request_open
        self._length = length
        if route is not self._route:  # of one config, as each config has routes of its own
            self._route = route
            self._backend = backends.get(route)
        self._relayed = self._head_sent = self._paused = False
        self._moved = True
        self._tried = 0
        backend = self._backend
        self._retries = backend.retries
        if backend.gate is None:
            self._try_next()
        else:
            self._enter(backend.gate)

    def answer(self, downstream: Downstream, work: Callable[[], Awaitable[Page]]) -> None:
        """Answer with what `work` finds out; it must not raise."""
        self.active = True
        self._downstream = downstream
        self._paused = False
        self._task = asyncio.get_running_loop().create_task(self._answer(work))

    def cancel(self) -> None:
        """The client went: stop the backend's work at once."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._abort()
        self._end()

    def pause(self) -> None:
        """The client reads too slowly: take no more from the backend for now."""
        self._paused = self._moved = True
        if self._connection is not None:
            self._connection.transport.pause_reading()

    def resume(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._moved = True
        if self._connection is not None:
            self._connection.transport.resume_reading()

    def check_deadline(self, now: float) -> None:
        """End what takes too long; called by the sweep."""
        if self._moved or self._task is not None:  # a task has a timeout of its own
            self._moved = False
            self._since = now
            return
        waited = now - self._since
        config = self._backend.config
        if self._queued:
            if waited >= config.queue_timeout:
                self._refuse(queue_timeout(self._backend.model))
        elif self._paused:
            unsent = self._downstream.unsent_bytes()
            if unsent != self._unsent:
                self._unsent = unsent
                self._since = now
            elif waited >= CLIENT_STALL_S:
                self._abort()
                log(
                    f"client of model {self._backend.model!r} took nothing for {CLIENT_STALL_S:g} s"
                )
                self._end().exchange_broken("client_stalled")
        elif self._head_sent:
            if waited >= config.read_timeout:
                self._abort()
                self._log(f"sent nothing more for {config.read_timeout:g} s", "read_timeout")
                self._end().exchange_broken("backend_stalled")
        elif waited >= config.response_timeout:
            self._abort()
            reason = f"sent no response for {config.response_timeout:g} s"
            self._log(reason, "response_timeout")
            self._refuse(backend_timeout(self._backend.model))

    # On the way to a replica.

    def _enter(self, gate: Gate) -> None:
        if gate.enter():
            self._gate = gate
            self._try_next()
        elif gate.wait(self):
            self._gate = gate
            self._queued = True
            self._record.queued()
        else:
            self._refuse(queue_full(self._backend.model))

    def admitted(self) -> None:
        """Go on with a request that waited at the gate."""
        self._queued = False
        self._record.admitted()
        self._moved = True
        self._try_next()

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
        self._record.origin = pool.origin
        connection = pool.acquire()
        if connection is not None:
            self._send(connection)
        else:
            self._record.connecting()
            self._task = asyncio.get_running_loop().create_task(self._connect(pool))

    def _unreachable(self) -> ApiError:
        backend = self._backend
        if self._retries < backend.retries:
            return backend_error(backend.model)  # one of them was sent the request
        return backend_unavailable(backend.model, backend.retry_after())

    async def _connect(self, pool: Pool) -> None:
        try:
            connection = await pool.connect()
        except (OSError, UnicodeError) as error:
            self._task = None
            late = isinstance(error, TimeoutError)
            reason = f"can't be reached ({'timed out' if late else error})"
            self._pass_over(reason, "connect_timeout" if late else "connect")
            return
        self._task = None
        if connection.transport.is_closing():
            self._pass_over("closed the connection at once", "connect")
        else:
            self._record.connected_backend()
            self._send(connection)

    def _pass_over(self, reason: str, kind: str) -> None:
        self._log(reason, kind)
        self._leave_replica()
        self._try_next()

    def _send(self, connection: UpstreamConnection) -> None:
        body, request = self._body, self._request
        id_, replica = self._record.request_id, self._replica
        if self._request_open:
            head = self._heads.streamed_head(request, self._route, replica, self._length, id_)
            self._retries = 0  # what comes after the first part is not there a second time
        else:
            head = self._heads.request_head(request, self._route, replica, len(body), id_)
        if not self._retries:
            self._body = b""  # from here on the connection holds it, as long as it must
        self._connection = connection
        self._moved = True
        connection.request_open = self._request_open
        connection.send(
            (head, body), self, request.method == b"HEAD", request.http10, request.websocket
        )
        if self._paused:
            connection.transport.pause_reading()
        if self._request_open and not connection.stalled:
            self._downstream.request_wanted(True)

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
        connection.transport.writelines(pieces)
        if last:
            self._request_open = connection.request_open = False

    def end_stream(self) -> bool:
        """Tell the backend that no more comes; answer whether it can be told so."""
        connection = self._connection
        if connection is None or not connection.transport.can_write_eof():
            return False
        connection.transport.write_eof()
        return True

    def request_stalled(self, stalled: bool) -> None:
        """Tell the client's side, if it has more to send."""
        if self._request_open:
            self._downstream.request_wanted(not stalled)

    # What the connection to the backend calls.

    def interim_head(self, head: ResponseHead) -> None:
        """Relay a 1xx response; 100 answers an Expect that llmhop took on itself."""
        if head.status != 100 and not self._request.http10:
            self._relayed = True
            self._downstream.write(rewrite.interim_head(head))

    def response_head(
        self, head: ResponseHead, length: int | None, body: bytes, complete: bool
    ) -> None:
        """Relay the final head and the first part of the body."""
        decoded, downstream = self._request.http10, self._downstream
        ends_with_connection = not complete and not head.framed
        self._close = close = downstream.wants_close() or decoded or ends_with_connection
        self._head_sent = self._relayed = self._moved = True
        if self._retries:
            self._body = b""
        record = self._record
        record.head_came(head, body, complete)
        start = rewrite.response_head(head, length, decoded, close, record.request_id)
        downstream.write(start + body)
        if complete:
            self._done()
        elif head.status == 101 and self._connection is not None:
            self._request_open = self._connection.request_open = True
            downstream.switched()

    def response_body(self, data: bytes, complete: bool) -> None:
        """Relay the next part of the body."""
        self._moved = True
        if data:
            self._record.piece_came(data)
            self._downstream.write(data)
        if complete:
            self._done()

    def response_failed(self, reason: str, kind: str) -> None:
        """Try again if that is allowed, else tell the client as well as can be; log the reason."""
        self._connection = None
        self._log(reason, kind)
        if self._head_sent:
            self._end().exchange_broken("backend_broke")
        elif self._retries and not self._relayed:
            self._retries -= 1
            self._leave_replica()
            if self._tried == (1 << len(self._backend.pools)) - 1:
                self._tried = 0
            self._try_next()
        else:
            self._refuse(backend_error(self._backend.model))

    # The end.

    async def _answer(self, work: Callable[[], Awaitable[Page]]) -> None:
        page = await work()
        self._task = None
        self._end().exchange_answered(page)

    def _log(self, reason: str, kind: str) -> None:
        origin = self._backend.pools[self._replica].origin
        self._record.backend_failed(kind)
        id_ = self._record.request_id.decode()
        log(f"backend of model {self._backend.model!r} at {origin} {reason}; request {id_!r}")

    def _refuse(self, error: ApiError) -> None:
        self._end().exchange_refused(error)

    def _done(self) -> None:
        # What _end does, in fewer steps: every request comes by here.
        self._connection = None
        downstream = self._downstream
        del self._downstream
        self.active = False
        self._leave_replica()
        if self._gate is not None:
            self._leave_gate(self._gate)
        downstream.exchange_done(self._close)

    def _abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _leave_replica(self) -> None:
        if self._pool is not None:
            self._pool.outstanding -= 1
            self._pool = None

    def _end(self) -> Downstream:
        """Let go of everything; who waits at the gate comes next."""
        downstream = self._downstream
        del self._downstream
        self._body = b""
        self.active = False
        self._leave_replica()
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
