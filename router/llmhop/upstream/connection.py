"""The backend's side of the router: one connection, as an asyncio Protocol.

Its states:

- idle: in its pool, with no sink; it reads, and bytes that come close it;
- active: one sink owns it, from `send` until the end of the response or `cancel`; only then it may
  be paused by the sink, or, after a full read, until the next pass of the event loop;
- closed.

It is idle again only after a response that was read to its end, with nothing after it and the
whole request written. Nothing else touches its transport, and calls of a former owner are ignored:
a sink may still pause a connection that serves another one by then.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, cast

from llmhop.errors import BackendError
from llmhop.http.body.large_body import Body, ScannedBody
from llmhop.http.parsed_head import ResponseHead
from llmhop.http.response_reader import ResponseReader
from llmhop.limits import MAX_BYTES_PER_PASS

# Above this a body is written beside its head rather than copied behind it.
_JOIN_BYTES = 16 * 1024
# Of what is left on a broken connection so much is read at once.
_LEFT_BYTES = 64 * 1024


Sent = tuple[bytes, Body]
"""A request as the backend gets it: its head, and its body."""


class ResponseSink(Protocol):
    """The receiver of a response. Nothing is called after `complete` or `response_failed`."""

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
        """There will be no more of the response; `kind` is "closed" or "invalid_response"."""

    def pause_request(self) -> None:
        """The backend takes no more of the request for now."""

    def resume_request(self) -> None:
        """The backend takes more of the request again."""


class Keeper(Protocol):
    """The pool, as its connections see it."""

    __slots__ = ()

    def connection_idle(self, connection: UpstreamConnection) -> None:
        """It can take another request."""

    def connection_lost(self, connection: UpstreamConnection) -> None:
        """It is closed."""

    def connection_proved(self) -> None:
        """The first response on a connection began."""

    def connection_failed(self) -> None:
        """A connection closed, or brought no HTTP, where its first response should have begun."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to a backend, kept by its pool."""

    __slots__ = (
        "_begun",
        "_in_body",
        "_keeper",
        "_paused",
        "_poll",
        "_proved",
        "_reader",
        "_request_open",
        "_resting",
        "_sink",
        "_takes_whole",
        "_tls",
        "_transport",
        "stalled",
    )

    _transport: asyncio.Transport

    stalled: bool
    """Whether what was written waits for the backend to take it."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._poll = select.poll()
        self._sink: ResponseSink | None = None
        self._reader = ResponseReader()
        self._begun = self._in_body = self._proved = self._request_open = self.stalled = False
        self._paused = self._resting = False
        self._tls: Any = None  # reads what is encrypted; None where nothing is
        self._takes_whole: Callable[[bytes], bool] | None = None

    def is_open(self) -> bool:
        """Whether it was not closed, as far as the event loop has seen."""
        return not self._transport.is_closing()

    def is_usable(self) -> bool:
        """Whether an idle connection can take a request.

        Asks the kernel, because a FIN that came since the event loop last looked would make the
        request fail. One poll(2) costs less than a microsecond.
        """
        return not self._transport.is_closing() and not self._poll.poll(0)

    def is_silent(self) -> bool:
        """Whether not a byte has come on it.

        What publishes a container's port accepts connections before anything listens inside, so a
        connection proves nothing until it carried the first byte of a response.
        """
        return not (self._proved or self._begun)

    def send(
        self,
        request: Sent,
        sink: ResponseSink,
        *,
        head_only: bool,
        decode: bool,
        websocket: bool,
        request_open: bool,
    ) -> None:
        """Write a request and report its response to `sink`, which owns the connection until then.

        `head_only` says that it asks for a head, `websocket` for an upgrade; `decode` that chunks
        are to be taken off; `request_open` that there is more for `send_more`.
        """
        self._sink = sink
        self._in_body = False
        self._request_open = request_open
        self._reader.start(head_only=head_only, decode=decode, websocket=websocket)
        head, body = request
        if isinstance(body, ScannedBody):
            self._transport.writelines([head, *body.parts])
        elif len(body) > _JOIN_BYTES:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)

    def send_more(self, sink: ResponseSink, pieces: list[bytes], last: bool) -> None:
        """Write more of a request that is open, at its end with `last`."""
        if self._sink is sink:
            if self._tls is not None:
                # Before what the event loop does when the write fails.
                asyncio.get_running_loop().call_soon(self._read_left_of_tls)
            self._transport.writelines(pieces)
            if last:
                self._request_open = False

    def end_stream(self, sink: ResponseSink) -> bool:
        """Close the half towards the backend; answer whether that can be done."""
        if self._sink is not sink or not self._transport.can_write_eof():
            return False
        self._transport.write_eof()
        return True

    def upgraded(self, sink: ResponseSink) -> None:
        """Take whatever comes from both sides, after a 101: the request is open again."""
        if self._sink is sink:
            self._request_open = True

    def pause_reading(self, sink: ResponseSink) -> None:
        """Take no more of the response for now."""
        if self._sink is sink:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self, sink: ResponseSink) -> None:
        """Take more of the response again."""
        if self._sink is sink:
            self._paused = False
            if not self._resting:
                self._transport.resume_reading()

    def cancel(self, sink: ResponseSink) -> None:
        """Drop the connection at once, without a word to the sink that owns it."""
        if self._sink is sink:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once, without a word to anybody."""
        self._sink = None
        self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and its descriptor."""
        self._transport = cast(asyncio.Transport, transport)
        self._tls = transport.get_extra_info("uvloop.sslproto")
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Report what came; close where nothing was asked for."""
        sink = self._sink
        if sink is None:
            self._begun = True
            self._transport.abort()
            return
        if len(data) >= MAX_BYTES_PER_PASS:
            self._rest()
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
                if not self._proved:
                    self._prove()
                sink.response_head(head, len(body), body, self._finish())
            else:
                self._receive_head(sink, data)
        except BackendError as error:
            self._fail(str(error), "invalid_response")

    def _rest(self) -> None:
        # The event loop would read on, up to 32 times.
        self._resting = True
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._read_again)

    def _read_again(self) -> None:
        self._resting = False
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The backend reads slower than it is written to."""
        self.stalled = True
        if self._sink is not None:
            self._sink.pause_request()

    def resume_writing(self) -> None:
        """The backend has caught up."""
        self.stalled = False
        if self._sink is not None:
            self._sink.resume_request()

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
        """Leave the pool; report to the sink, if there is one."""
        self._keeper.connection_lost(self)
        if exc is not None and self._sink is not None and self._tls is None:
            self._read_left()
        sink, self._sink = self._sink, None
        if sink is not None:
            self._report(sink, f"broke off the connection ({exc or 'closed'})", "closed")

    def _read_left(self) -> None:
        """Take what came before the connection broke and was not read.

        A backend that answers before it has read a request, and closes, resets the connection.
        Where a write fails by that before the event loop reads, the loop reads no more; the kernel
        still has all that was received.
        """
        self._request_open = True  # so that nobody takes the connection for one to keep
        descriptor = self._transport.get_extra_info("socket").fileno()
        with suppress(OSError):
            while self._sink is not None and (data := os.read(descriptor, _LEFT_BYTES)):
                if self._tls is None:
                    self.data_received(data)
                else:
                    self._tls.get_buffer(len(data))[: len(data)] = data
                    self._tls.buffer_updated(len(data))

    def _read_left_of_tls(self) -> None:
        # When connection_lost is called, uvloop has let go of TLS and of the descriptor.
        if self._sink is None or self._transport.is_closing():
            return
        for _, events in self._poll.poll(0):
            if events & select.POLLHUP:
                self._read_left()

    def _receive_head(self, sink: ResponseSink, data: bytes) -> None:
        self._begun = True
        reader = self._reader
        reader.feed_head(data)
        while (head := reader.read_head()) is not None:
            if not self._proved:
                self._prove()
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

    def _prove(self) -> None:
        self._proved = True
        self._keeper.connection_proved()

    def _finish(self) -> bool:
        # Called before the sink hears of the end, so that its next request finds this connection.
        self._sink = None
        transport = self._transport
        sent = not self._request_open and not self.stalled
        if self._reader.reusable and sent and transport.get_write_buffer_size() == 0:
            self._paused = False
            transport.resume_reading()
            self._keeper.connection_idle(self)
        else:
            transport.abort()
        return True

    def _fail(self, reason: str, kind: str) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            self._report(sink, reason, kind)

    def _report(self, sink: ResponseSink, reason: str, kind: str) -> None:
        if not self._proved and (not self._begun or kind == "invalid_response"):
            self._keeper.connection_failed()
        sink.response_failed(reason, kind)
