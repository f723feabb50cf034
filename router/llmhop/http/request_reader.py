"""Splits the bytes of a client connection into requests, one at a time. Does no I/O.

`feed` takes bytes as they come; `read_head` and `read_body` are called alternately and return None
while bytes are missing. What a client sends ahead stays untouched until the next `read_head`.
"""

from __future__ import annotations

from llmhop.errors import BadRequestError, body_too_large
from llmhop.http.body.chunked import ChunkedReader, ChunkError
from llmhop.http.body.large_body import LARGE_BYTES, Body, LargeBody, ScannedBody
from llmhop.http.fresh_fields import FreshFields
from llmhop.http.head import check_no_tls, parse_request_head
from llmhop.http.head_cache import HeadCache, LastHead
from llmhop.http.parsed_head import RequestHead
from llmhop.limits import MAX_CHUNKS_PER_PASS, MAX_HEAD_BYTES

_HEAD_END = b"\r\n\r\n"
_HEADS = HeadCache(parse_request_head, FreshFields().read)


class RequestReader:
    """Reads requests from bytes. After an exception it can't be used again; a head is pending then.

    `pending` holds what waits for the next call. Of the head that was read last, `has_body` says
    whether body bytes follow it, `awaits_body` that none of them came with it. While `read_body`
    answers None, a `large` body may be filled directly. A form is read by `read_piece` instead,
    until `body_left` is False; `length` is what its head announced. What is pending before the end
    of a body are chunks, left for another pass.
    """

    __slots__ = (
        "_chunks",
        "_collected",
        "_last",
        "_left",
        "_limit",
        "_parts",
        "_scanned",
        "_taken",
        "awaits_body",
        "body_left",
        "has_body",
        "large",
        "length",
        "pending",
    )

    def __init__(self) -> None:
        self.pending: bytes | bytearray = b""
        self._last = LastHead(_HEADS)
        self._scanned = 0
        self._parts = bytearray()
        self._left = 0
        self._limit = 0
        self._taken = 0
        self._chunks: ChunkedReader | None = None
        self._collected: ScannedBody | None = None
        self.has_body = False
        self.awaits_body = False
        self.body_left = False
        self.length: int | None = None
        self.large: LargeBody | None = None

    @property
    def held_bytes(self) -> int:
        """How much of what has come is in memory here."""
        held = len(self.pending) + len(self._parts)
        if self.large is not None:
            held += self.large.size
        if self._collected is not None:
            held += self._collected.size
        return held

    @property
    def has_whole_body(self) -> bool:
        """Whether all of a body of known length is here; of one in chunks that is not looked for.

        To be asked before `start_body`.
        """
        return self.length is not None and self.body_bytes == self.length

    @property
    def body_bytes(self) -> int:
        """How much has come of the body that is being read, without its chunks' framing.

        Of a body that was not started nothing but what came with the head.
        """
        if self._chunks is not None:
            return self._taken + len(self._parts)
        if self.large is not None:
            return self.large.size
        return (self.length or 0) - self._left + min(len(self.pending), self._left)

    def read_whole(self, data: bytes, limit: int) -> tuple[RequestHead, bytes] | None:
        """Return the request in `data` if that is exactly one, with a body of known length.

        To be asked where nothing is pending. Answers None, with nothing read, wherever the other
        methods have more to do. Raises BadRequestError.
        """
        if len(data) > LARGE_BYTES + MAX_HEAD_BYTES:
            return None  # or a large body would be copied for nothing
        try:
            whole = self._last.read_whole(data)
        except BadRequestError:
            self.pending = data
            raise
        if whole is None:
            return None
        head, body = whole
        # read_body tells of bodies beyond the limit; forms go on in pieces.
        if len(body) > LARGE_BYTES or len(body) > limit or head.boundary is not None:
            return None
        return whole

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        pending = self.pending
        if not pending:
            self.pending = data
        elif isinstance(pending, bytearray):
            pending += data
        else:
            # What grows and shrinks in place, so that small pieces are not copied again and again.
            self.pending = bytearray(pending) + data

    def read_head(self) -> RequestHead | None:
        """Return the next request's head, or None. Raises BadRequestError."""
        buffer = self.pending
        check_no_tls(buffer)
        if self._scanned == 0 and buffer.startswith(b"\r\n"):
            # One empty line before a request is ignored (RFC 9112 section 2.2).
            self._scanned = 2
        end = buffer.find(_HEAD_END, self._scanned)
        size = len(buffer) if end < 0 else end
        if size > MAX_HEAD_BYTES:
            raise BadRequestError(
                f"The head of the request is larger than {MAX_HEAD_BYTES} bytes.", 431
            )
        if end < 0:
            # Go on where the end may have begun, so that slow bytes cost no rescans.
            first = 2 if buffer.startswith(b"\r\n") else 0
            self._scanned = max(first, size - 3)
            return None
        self._scanned = 0
        raw = self._take(end + 4)
        try:
            head, length = _HEADS.read(raw)
        except BadRequestError:
            self.pending = raw
            raise
        self._left = length or 0
        self._taken = 0
        self._chunks = None
        self.has_body = head.chunked or self._left > 0
        self.length = length
        self.awaits_body = self.has_body and not self.pending
        if self._left > LARGE_BYTES and head.boundary is None:
            self.large = LargeBody(self._left)
            self._fill(self.large)
        return head

    def start_body(self, head: RequestHead, limit: int) -> None:
        """Make ready for the body of `head`, of at most `limit` bytes.

        Raises ApiError (413) where the head announced more.
        """
        if self._left > limit:
            raise body_too_large(limit)
        self._limit = limit
        if head.chunked:
            self._chunks = ChunkedReader()

    def read_body(self) -> Body | None:
        """Return the whole body, without its chunks' framing, or None.

        Raises BadRequestError, and ApiError (413) where chunks exceed the limit.
        """
        if self._chunks is not None:
            return self._read_chunks(self._chunks)
        if self.large is not None:
            return self._read_large(self.large)
        data = self.pending
        missing = self._left - len(data)
        if missing > 0:
            self._parts += data
            self._left = missing
            self.pending = b""
            return None
        if missing == 0:
            self.pending = b""
            return self._joined(data) if self._parts else data
        end = self._take(self._left)
        return self._joined(end) if self._parts else end

    def read_piece(self) -> bytes:
        """Return what has come of a body since the last call, without its chunks' framing.

        Raises BadRequestError, and ApiError (413) where chunks exceed the limit.
        """
        if self._chunks is None:
            piece = self._take(self._left)
            self._left -= len(piece)
            self.body_left = self._left > 0
            return piece
        self._feed_chunks(self._chunks)
        if self._taken + len(self._parts) > self._limit:
            raise body_too_large(self._limit)
        self._taken += len(self._parts)
        self.body_left = not self._chunks.done
        piece = bytes(self._parts)
        self._parts.clear()
        return piece

    def _feed_chunks(self, chunks: ChunkedReader) -> None:
        try:
            taken = chunks.feed(self.pending, self._parts, MAX_CHUNKS_PER_PASS)
        except ChunkError as error:
            raise BadRequestError(f"The chunked body is not valid: {error}.") from None
        self._drop(taken)

    def _read_chunks(self, chunks: ChunkedReader) -> Body | None:
        self._feed_chunks(chunks)
        if self._taken + len(self._parts) > self._limit:
            raise body_too_large(self._limit)
        if chunks.done and self._collected is None:
            return self._joined(b"")
        if len(self._parts) > LARGE_BYTES or chunks.done:
            if self._collected is None:
                self._collected = ScannedBody()
            self._taken += len(self._parts)
            self._collected.append(self._joined(b""))
        if not chunks.done:
            return None
        body, self._collected = self._collected, None
        return body

    def _read_large(self, large: LargeBody) -> Body | None:
        self._fill(large)
        if not large.complete:
            return None
        self.large = None
        return large.take()

    def _fill(self, large: LargeBody) -> None:
        if self.pending:
            with memoryview(self.pending) as view:
                taken = large.add(view)
            self._drop(taken)

    def _take(self, count: int) -> bytes:
        """Return so many bytes of what is pending, or all, which are pending no more."""
        pending = self.pending
        if len(pending) <= count:
            self.pending = b""
            return bytes(pending)
        taken = bytes(pending[:count])
        self._drop(count)
        return taken

    def _drop(self, count: int) -> None:
        pending = self.pending
        if len(pending) == count:
            self.pending = b""
        elif isinstance(pending, bytearray):
            del pending[:count]
        else:
            self.pending = bytearray(pending[count:])

    def _joined(self, end: bytes | bytearray) -> bytearray:
        body, self._parts = self._parts, bytearray()
        body += end
        return body
