"""Splits the bytes of a client connection into requests, one at a time. Does no I/O.

`feed` takes bytes as they come; `read_head` and `read_body` are asked in turn and answer None
while bytes are missing. What a client sends ahead stays untouched until the next `read_head`.
"""

from __future__ import annotations

from llmhop.chunked import ChunkedReader, ChunkError
from llmhop.errors import BadRequestError, body_too_large
from llmhop.http_head import RequestHead, parse_request_head
from llmhop.limits import MAX_HEAD_BYTES

Body = bytes | bytearray

_HEAD_END = b"\r\n\r\n"


class RequestReader:
    """Reads requests from bytes. After an exception it is of no more use."""

    __slots__ = ("_buffer", "_chunks", "_left", "_limit", "_parts", "_scanned")

    def __init__(self) -> None:
        self._buffer = b""
        self._scanned = 0
        self._parts = bytearray()
        self._left = 0
        self._limit = 0
        self._chunks: ChunkedReader | None = None

    @property
    def buffered(self) -> int:
        """How many bytes wait for the next `read_head` or `read_body`."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._buffer = self._buffer + data if self._buffer else data

    def read_head(self) -> RequestHead | None:
        """Return the next request's head, or None. Raises BadRequestError."""
        if self._scanned == 0 and self._buffer.startswith(b"\r\n"):
            # One empty line before a request is ignored (RFC 9112 section 2.2).
            self._scanned = 2
        end = self._buffer.find(_HEAD_END, self._scanned)
        size = len(self._buffer) if end < 0 else end
        if size > MAX_HEAD_BYTES:
            raise BadRequestError(
                f"The head of the request is larger than {MAX_HEAD_BYTES} bytes.", 431
            )
        if end < 0:
            # Go on where the end may have begun, so that slow bytes cost no rescans.
            first = 2 if self._buffer.startswith(b"\r\n") else 0
            self._scanned = max(first, size - 3)
            return None
        raw = self._buffer[: end + 4]
        self._buffer = self._buffer[end + 4 :]
        self._scanned = 0
        return parse_request_head(raw)

    def start_body(self, head: RequestHead, limit: int) -> None:
        """Make ready for the body of `head`, of at most `limit` bytes.

        Raises ApiError (413) where the head announces more.
        """
        length = head.content_length or 0
        if length > limit:
            raise body_too_large(limit)
        self._left = length
        self._limit = limit
        self._chunks = ChunkedReader() if head.chunked else None

    def read_body(self) -> Body | None:
        """Return the whole body, without its chunks' framing, or None.

        Raises BadRequestError, and ApiError (413) where chunks exceed the limit.
        """
        data = self._buffer
        if self._chunks is not None:
            return self._read_chunks(self._chunks, data)
        if len(data) < self._left:
            self._parts += data
            self._left -= len(data)
            self._buffer = b""
            return None
        end, self._buffer = data[: self._left], data[self._left :]
        return self._joined(end) if self._parts else end

    def _read_chunks(self, chunks: ChunkedReader, data: bytes) -> Body | None:
        try:
            taken = chunks.feed(data, self._parts)
        except ChunkError as error:
            raise BadRequestError(f"The chunked body is not valid: {error}.") from None
        self._buffer = data[taken:]
        if len(self._parts) > self._limit:
            raise body_too_large(self._limit)
        return self._joined(b"") if chunks.done else None

    def _joined(self, end: bytes) -> Body:
        body, self._parts = self._parts, bytearray()
        body += end
        return body
