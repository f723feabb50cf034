"""One request on its way to a backend, and the response on its way back.

Until the head of the response was written, a failure becomes an error response; after that the
client's connection is closed, so that it sees a broken response and never a short one that looks
whole. A request is sent once: after the first byte went out, nothing repeats it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from llmhop import rewrite
from llmhop.errors import ApiError, backend_unavailable
from llmhop.http_head import RequestHead, ResponseHead
from llmhop.log import log
from llmhop.pool import Pool
from llmhop.upstream import Sent, UpstreamConnection


class Downstream(Protocol):
    """The client's side, as an exchange sees it."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Sends bytes to the client."""

    def wants_close(self) -> bool:
        """Whether the response must say that the connection is closed after it."""

    def exchange_done(self, close: bool) -> None:
        """The whole response was written."""

    def exchange_refused(self, error: ApiError) -> None:
        """There is an error to answer with; nothing was written."""

    def exchange_broken(self) -> None:
        """The response broke off after its head was written."""


class Exchange:
    """Sends a request and relays its response; then it may be started again.

    Implements upstream.ResponseSink. `active` says that a response is still to come.
    """

    __slots__ = (
        "_close",
        "_connecting",
        "_connection",
        "_downstream",
        "_head_only",
        "_head_sent",
        "_http10",
        "_model",
        "_paused",
        "_pool",
        "active",
    )

    # Set by `start`. The client's side is let go at the end, so that the two are no cycle.
    _downstream: Downstream
    _pool: Pool
    _model: str
    _head_only: bool
    _http10: bool

    def __init__(self) -> None:
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._head_sent = False
        self._close = False
        self._paused = False
        self.active = False

    def start(
        self, downstream: Downstream, request: RequestHead, pool: Pool, model: str, sent: Sent
    ) -> None:
        """Send a request, on an idle connection or on a new one.

        `sent` is the head and the body that the backend gets; `model` is for messages.
        """
        self.active = True
        self._downstream = downstream
        self._pool = pool
        self._model = model
        self._head_only = request.method == b"HEAD"
        self._http10 = request.http10
        self._head_sent = self._paused = False
        connection = pool.acquire()
        if connection is not None:
            self._send(connection, sent)
        else:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(sent))

    def cancel(self) -> None:
        """The client went: stop the backend's work at once."""
        self._end()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def pause(self) -> None:
        """The client reads too slowly: take no more from the backend for now."""
        self._paused = True
        if self._connection is not None:
            self._connection.transport.pause_reading()

    def resume(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self._connection is not None:
            self._connection.transport.resume_reading()

    async def _connect(self, sent: Sent) -> None:
        try:
            connection = await self._pool.connect()
        except (OSError, UnicodeError) as error:
            self._connecting = None
            reason = "timed out" if isinstance(error, TimeoutError) else error
            self.response_failed(f"can't be reached ({reason})")
            return
        self._connecting = None
        if connection.transport.is_closing():
            self.response_failed("closed the connection at once")
        else:
            self._send(connection, sent)

    def _send(self, connection: UpstreamConnection, sent: Sent) -> None:
        self._connection = connection
        connection.send(sent, self, self._head_only, self._http10)
        if self._paused:
            connection.transport.pause_reading()

    # What the connection to the backend calls.

    def interim_head(self, head: ResponseHead) -> None:
        """Relay a 1xx response; 100 answers an Expect that llmhop took on itself."""
        if head.status != 100 and not self._http10:
            self._downstream.write(rewrite.response_head(head, None, False, False))

    def response_head(
        self, head: ResponseHead, length: int | None, body: bytes, complete: bool
    ) -> None:
        """Relay the final head and the first part of the body."""
        decoded, downstream = self._http10, self._downstream
        ends_with_connection = not complete and not head.framed
        self._close = close = downstream.wants_close() or decoded or ends_with_connection
        self._head_sent = True
        downstream.write(rewrite.response_head(head, length, decoded, close) + body)
        if complete:
            self._done()

    def response_body(self, data: bytes, complete: bool) -> None:
        """Relay the next part of the body."""
        if data:
            self._downstream.write(data)
        if complete:
            self._done()

    def response_failed(self, reason: str) -> None:
        """Tell the client as well as can be; log the reason."""
        self._connection = None
        downstream = self._end()
        log(f"backend of model {self._model!r} at {self._pool.origin} {reason}")
        if self._head_sent:
            downstream.exchange_broken()
        else:
            downstream.exchange_refused(backend_unavailable(self._model))

    def _done(self) -> None:
        self._connection = None
        self.active = False
        downstream = self._downstream
        del self._downstream
        downstream.exchange_done(self._close)

    def _end(self) -> Downstream:
        downstream = self._downstream
        del self._downstream
        self.active = False
        return downstream
