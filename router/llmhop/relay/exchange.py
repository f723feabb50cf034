"""One request on its way to a backend, and the response on its way back.

Until the head of the response was written, a failure becomes an error response; after that the
client's connection is closed, or reset where the end of it ends the response, so that it sees a
broken response and never a short one that looks whole.

Nothing is sent again after something of a response was relayed. No timer runs for a request: the
sweep asks it whether anything moved since the last time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from llmhop.backend.backends import Backends
from llmhop.errors import backend_timeout, queue_timeout
from llmhop.http.body.large_body import Body
from llmhop.http.head import RequestHead, ResponseHead
from llmhop.http.local_response import Page, date_now
from llmhop.limits import CLIENT_STALL_S
from llmhop.log.logger import log
from llmhop.observe.usage import TAIL_BYTES
from llmhop.relay import rewrite
from llmhop.relay.causes import BROKE, UNREACHED
from llmhop.relay.downstream import Downstream, Heads
from llmhop.relay.sending import Sending
from llmhop.routing.table import Route


class Exchange(Sending):
    """Sends a request and relays its response; then it may be started again.

    Implements origin.connection.ResponseSink.
    """

    __slots__ = ()

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
        request it is the first part: there is more for `send_more` from `resume_request` on until
        `pause_request`, and `length` bytes in all, where that is known.
        """
        self.active = True
        self._downstream = downstream
        self._heads = heads
        self._record = downstream.record
        self._record.model = route.model
        self._request = request
        self._body = body
        self._body_bytes = len(body)
        self._request_open = self._streamed = request_open
        self._length = length
        self._route = route
        # A route is of one config, as each config has routes of its own.
        if route is not self._served or self._backend.replaced:
            self._served = route
            self._backend = backends.get(route)
        self._relayed = self._head_sent = self._paused = self._dropped = False
        self._moved = True
        self._tried = self._cause = 0
        backend = self._backend
        self._retries = backend.retries
        if backend.gate is None:
            self._try_next()
        else:
            self._enter_gate(backend.gate)

    def answer(self, downstream: Downstream, work: Callable[[], Coroutine[Any, Any, Page]]) -> None:
        """Answer with what `work` finds out."""
        self.active = True
        self._downstream = downstream
        self._paused = self._head_sent = False
        self._task = task = asyncio.get_running_loop().create_task(work())
        task.add_done_callback(self._answered)

    def cancel(self) -> None:
        """The client went: stop the backend's work at once."""
        self._let_go()
        self._end()

    def pause(self) -> None:
        """The client reads too slowly: take no more from the backend for now."""
        self._paused = self._moved = True
        if self._connection is not None:
            self._connection.pause_reading(self)

    def resume(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._moved = True
        if self._connection is not None:
            self._connection.resume_reading(self)

    def wait_for_client(self, now: float) -> None:
        """Have no time of the backend run while more of the request is to come from the client."""
        self._since = now

    def check_deadline(self, now: float) -> None:
        """End what takes too long; called by the sweep."""
        if self._moved or self._task is not None or self._attempt is not None:  # timed themselves
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
            self._backend.pools[self._replica].connection_failed()
            reason = f"sent no response for {config.response_timeout:g} s"
            self._log(reason, "response_timeout")
            self._refuse(backend_timeout(self._backend.model))

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
        if head.unserved and not self._relayed:
            self._skip_replica(head, complete)
            return
        replica = self._backend.replicas[self._replica]
        if replica.health.aside:
            replica.health.succeeded()
        decoded, downstream = self._request.http10, self._downstream
        ends_with_connection = not complete and not head.framed
        self._close = close = downstream.wants_close() or decoded or ends_with_connection
        self._head_sent = self._relayed = self._moved = True
        if not self._backend.is_single or self._retries:
            self._body = b""
            self._held = None
            if self._connection is None or not self._connection.stalled:
                self._body_bytes = 0
            downstream.request_sent()
        record = self._record
        record.response_started(head, body, complete)
        date = b"" if head.dated else date_now()
        start = rewrite.response_head(head, length, decoded, close, record.request_id, date)
        downstream.write(start + body)
        if complete:
            self._done()
            return
        if head.status == 101 and self._connection is not None:
            self._request_open = True
            self._connection.upgraded(self)
            downstream.upgraded()
        elif ends_with_connection or (decoded and head.chunked):
            self._ends_by_close = True
            downstream.arm_reset()

    def response_piece(self, data: bytes) -> None:
        """Relay the next part of the body, after which there is more."""
        self._moved = True
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
        silent = self._connection is not None and self._connection.is_silent()
        self._connection = None
        self._log(reason, kind)
        # One that closes a new connection without a byte is most likely starting.
        silent = silent and kind == "closed"
        self._cause = max(self._cause, UNREACHED if silent else BROKE)
        if self._head_sent:
            self._end().exchange_broken("backend_broke")
        elif self._retries and not self._relayed:
            self._retries -= 1
            self._release_replica()
            if self._tried == (1 << len(self._backend.pools)) - 1:
                self._tried = 0
            self._try_next()
            self._notify_sent()
        else:
            self._refuse(self._unreachable())

    # The end.

    def _answered(self, task: asyncio.Task[Page]) -> None:
        if task is not self._task or task.cancelled():
            return
        self._task = None
        error = task.exception()
        if error is not None:
            self._fail(error)
        else:
            self._end().exchange_answered(task.result())

    def _done(self) -> None:
        # What _end does, in fewer steps: every request comes by here.
        self._connection = None
        self._body_bytes = 0
        downstream = self._downstream
        del self._downstream
        if self._ends_by_close:
            self._ends_by_close = False
            downstream.disarm_reset()
        self.active = False
        self._release_replica()
        if self._gate is not None:
            self._leave_gate(self._gate)
        downstream.exchange_done(self._close)
