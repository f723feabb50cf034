"""What was received of a client's current request, and of those after it. Does no I/O.

A request is read in this order: nothing was received (`is_new`); its head is being read; `head` is
set and its body is being read, or is streamed to the backend (`stream`). `finish` starts over.
"""

from __future__ import annotations

from llmhop.http.parsed_head import RequestHead
from llmhop.http.request_reader import RequestReader
from llmhop.relay.body_stream import FormStream, WebSocketStream
from llmhop.relay.head_memo import HeadMemo


class IncomingRequest:
    """The request that is being read or served.

    `reader` holds bytes that were not parsed yet, `deferred` those that a later pass gives to it.
    `body_unwanted` says that the head alone decided the response, so that the body is discarded.
    """

    __slots__ = ("body_unwanted", "deferred", "head", "reader", "stream")

    def __init__(self) -> None:
        self.reader = RequestReader()
        self.head: RequestHead | None = None
        self.stream: FormStream | WebSocketStream | None = None
        self.deferred = b""
        self.body_unwanted = False

    @property
    def is_new(self) -> bool:
        """Whether nothing of a request was read."""
        return self.head is None and not self.reader.pending

    @property
    def is_unfinished(self) -> bool:
        """Whether more of it may come, though it is answered: nobody wants that any more."""
        return self.body_unwanted or self.stream is not None

    @property
    def asks_for_head(self) -> bool:
        """Whether the response must have no body."""
        return self.head is not None and self.head.method == b"HEAD"

    def held_bytes(self, is_sent: bool, held_for_backend: int) -> int:
        """How much of what the client has sent is in memory.

        Where the request `is_sent`, its backend holds up so much. Without what passes through on
        its way: forms whose backend is known, and WebSockets.
        """
        stream = self.stream
        if is_sent and stream is not None:
            return held_for_backend
        held = held_for_backend + self.reader.held_bytes + len(self.deferred)
        return held + stream.held_bytes if isinstance(stream, FormStream) else held

    def begin_form(self, head: RequestHead, memo: HeadMemo) -> None:
        """Have the form that follows `head`, if one does, go on as it comes. Raises ApiError.

        `memo` has let `head` in.
        """
        if head.boundary is not None and self.reader.has_body:
            self.stream = FormStream(head, head.boundary, self.reader, memo.table, memo.principal)

    def upgrade(self) -> WebSocketStream:
        """Have all that comes from now on go on as it comes."""
        self.stream = stream = WebSocketStream(self.reader)
        return stream

    def finish(self) -> None:
        """Reset for the next request, which may have been received already."""
        self.head = None

    def drop(self) -> None:
        """Discard what was read."""
        self.deferred = b""
        if self.reader.large is not None:
            self.reader.large.take()
        if self.reader.held_bytes:
            self.reader = RequestReader()
