"""The backend's side of the router: one connection, as an asyncio Protocol.

Invariants: a connection serves one exchange at a time; it goes back to its pool only after a
response that was read to its end, with nothing after it and the whole request written; bytes that
come while nobody waits for them close it.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Protocol, cast

from llmhop.errors import BackendError
from llmhop.http_head import ResponseHead
from llmhop.large_body import ScannedBody
from llmhop.request_reader import Body
from llmhop.response_reader import ResponseReader

# Above this a body is written beside its head rather than copied behind it.
_JOIN_BYTES = 16 * 1024


Sent = tuple[bytes, Body]
"""A request as the backend gets it: its head, and its body."""


class ResponseSink(Protocol):
    """Who waits for a response. Nothing is called after `complete` or `response_failed`."""

    __slots__ = ()

    def interim_head(self, head: ResponseHead) -> None:
        """A 1xx response came."""

    def response_head(
        self, head: ResponseHead, length: int | None, body: bytes, complete: bool
    ) -> None:
        """The final head came, with its Content-Length and the first part of the body."""

    def response_body(self, data: bytes, complete: bool) -> None:
        """The next part of the body came."""

    def response_piece(self, data: bytes) -> None:
        """The next part of the body came, which is not the last one."""

    def response_failed(self, reason: str, kind: str) -> None:
        """There will be no more of the response; `kind` is one of metric_cells.FAILURES."""

    def request_stalled(self, stalled: bool) -> None:
        """The backend takes no more of the request for now, or takes more again."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to a backend. `on_idle` and `on_lost` are how its pool keeps count."""

    __slots__ = (
        "_in_body",
        "_on_idle",
        "_on_lost",
        "_poll",
        "_reader",
        "_sink",
        "_takes_whole",
        "request_open",
        "stalled",
        "transport",
    )

    transport: asyncio.Transport
    """Only after the connection was made."""

    request_open: bool
    """Whether there is more of the request to come, which is written to `transport`."""

    stalled: bool
    """Whether what was written waits for the backend to take it."""

    def __init__(
        self,
        on_idle: Callable[[UpstreamConnection], None],
        on_lost: Callable[[UpstreamConnection], None],
    ) -> None:
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._poll = select.poll()
        self._sink: ResponseSink | None = None
        self._reader = ResponseReader()
        self._in_body = False
        self._takes_whole: Callable[[bytes], bool] | None = None
        self.request_open = self.stalled = False

    def is_fresh(self) -> bool:
        """Whether an idle connection can take a request.

        Asks the kernel, because a FIN that came since the event loop last looked would make the
        request fail. One poll(2) costs less than a microsecond.
        """
        return not self.transport.is_closing() and not self._poll.poll(0)

    def send(
        self,
        request: Sent,
        sink: ResponseSink,
        head_only: bool,
        decode: bool,
        websocket: bool = False,
    ) -> None:
        """Write a request and report its response to `sink`.

        `head_only` says that it asks for a head, `websocket` for an upgrade; `decode` that chunks
        are to be taken off.
        """
        self._sink = sink
        self._in_body = False
        self._reader.start(head_only, decode, websocket)
        head, body = request
        if isinstance(body, ScannedBody):
            self.transport.writelines([head, *body.parts])
        elif len(body) > _JOIN_BYTES:
            self.transport.writelines((head, body))
        else:
            self.transport.write(head + body)

    def abort(self) -> None:
        """Drop the connection at once, without a word to the sink."""
        self._sink = None
        self.transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and its descriptor."""
        self.transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Report what came; close where nothing was asked for."""
        sink = self._sink
        if sink is None:
            self.transport.abort()
            return
        try:
            if self._in_body:
                if self._takes_whole is not None and self._takes_whole(data):
                    sink.response_piece(data)
                    return
                reader = self._reader
                relayed = reader.read_body(data)
                sink.response_body(relayed, reader.complete and self._finish())
            elif (whole := self._reader.read_whole(data)) is not None:
                head, body = whole
                sink.response_head(head, len(body), body, self._finish())
            else:
                self._receive_head(sink, data)
        except BackendError as error:
            self._fail(str(error), "invalid_response")

    def pause_writing(self) -> None:
        """The backend reads slower than it is written to."""
        self.stalled = True
        if self._sink is not None:
            self._sink.request_stalled(True)

    def resume_writing(self) -> None:
        """The backend has caught up."""
        self.stalled = False
        if self._sink is not None:
            self._sink.request_stalled(False)

    def eof_received(self) -> None:
        """End a body that ends with the connection; else the response broke off."""
        sink = self._sink
        if sink is None:
            return
        try:
            self._reader.end_of_stream()
        except BackendError as error:
            self._fail(str(error), "closed")
        else:
            self.abort()
            sink.response_body(b"", True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the pool; report to who waits."""
        self._on_lost(self)
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.response_failed(f"broke off the connection ({exc or 'closed'})", "closed")

    def _receive_head(self, sink: ResponseSink, data: bytes) -> None:
        reader = self._reader
        reader.feed_head(data)
        while (head := reader.read_head()) is not None:
            if head.status >= 200 or head.status == 101:
                self._in_body = True
                self._takes_whole = reader.takes_whole()
                body = reader.first_body()
                complete = reader.complete and self._finish()
                sink.response_head(head, reader.length, body, complete)
                return
            sink.interim_head(head)
            if self._sink is None:  # the client went while it was told
                return

    def _finish(self) -> bool:
        # Called before the sink hears of the end, so that its next request finds this connection.
        self._sink = None
        transport = self.transport
        sent = not self.request_open and transport.get_write_buffer_size() == 0
        if self._reader.reusable and sent:
            transport.resume_reading()
            self._on_idle(self)
        else:
            transport.abort()
        return True

    def _fail(self, reason: str, kind: str) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.response_failed(reason, kind)
