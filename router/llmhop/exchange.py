"""One request on its way to a backend, and the response on its way back.

Until the head of the response was written, a failure becomes an error response; after that the
client's connection is closed, so that it sees a broken response and never a short one that looks
whole. A request is sent once: after the first byte went out, nothing repeats it.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from llmhop import rewrite
from llmhop.errors import ApiError, backend_unavailable
from llmhop.http_head import ResponseHead
from llmhop.log import log
from llmhop.pool import Pool
from llmhop.request_reader import Body
from llmhop.upstream import UpstreamConnection


class Downstream(Protocol):
    """The client's side, as an exchange sees it."""

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""

    def wants_close(self) -> bool:
        """Whether the response must say that the connection is closed after it."""

    def exchange_done(self, close: bool) -> None:
        """The whole response was written."""

    def exchange_refused(self, error: ApiError) -> None:
        """There is an error to answer with; nothing was written."""

    def exchange_broken(self) -> None:
        """The response broke off after its head was written."""


class Exchange:
    """Sends a request and relays its response. Implements upstream.ResponseSink."""

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
    )

    def __init__(
        self, downstream: Downstream, pool: Pool, model: str, *, head_only: bool, http10: bool
    ) -> None:
        """`model` is for messages; the others tell how the response is written."""
        self._downstream = downstream
        self._pool = pool
        self._model = model
        self._head_only = head_only
        self._http10 = http10
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._head_sent = False
        self._close = False
        self._paused = False

    def start(self, head: bytes, body: Body) -> None:
        """Send the request, on an idle connection or on a new one."""
        connection = self._pool.acquire()
        if connection is not None:
            self._send(connection, head, body)
        else:
            work = self._connect(head, body)
            self._connecting = asyncio.get_running_loop().create_task(work)

    def cancel(self) -> None:
        """The client went: stop the backend's work at once."""
        if self._connecting is not None:
            self._connecting.cancel()
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

    async def _connect(self, head: bytes, body: Body) -> None:
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
            self._send(connection, head, body)

    def _send(self, connection: UpstreamConnection, head: bytes, body: Body) -> None:
        self._connection = connection
        connection.send(head, body, self, head_only=self._head_only, decode=self._http10)
        if self._paused:
            connection.transport.pause_reading()

    # What the connection to the backend calls.

    def interim_head(self, head: ResponseHead) -> None:
        """Relay a 1xx response; 100 answers an Expect that llmhop took on itself."""
        if head.status != 100 and not self._http10:
            self._downstream.write(rewrite.response_head(head, None, decoded=False, close=False))

    def response_head(
        self, head: ResponseHead, length: int | None, body: bytes, complete: bool
    ) -> None:
        """Relay the final head and the first part of the body."""
        decoded = self._http10
        ends_with_connection = not complete and not head.framed
        self._close = self._downstream.wants_close() or decoded or ends_with_connection
        self._head_sent = True
        relayed = rewrite.response_head(head, length, decoded=decoded, close=self._close)
        self._downstream.write(relayed + body)
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
        log(f"backend of model {self._model!r} at {self._pool.origin} {reason}")
        if self._head_sent:
            self._downstream.exchange_broken()
        else:
            self._downstream.exchange_refused(backend_unavailable(self._model))

    def _done(self) -> None:
        self._connection = None
        self._downstream.exchange_done(self._close)
