"""Splits the bytes of a backend into responses: heads, body and end of each. Does no I/O."""

from __future__ import annotations

from collections.abc import Callable

from llmhop.errors import BackendError
from llmhop.http.body.chunked import ChunkedReader, ChunkError
from llmhop.http.head import check_begun, parse_response_head
from llmhop.http.head_cache import HeadCache, LastHead
from llmhop.http.parsed_head import ResponseHead
from llmhop.limits import MAX_HEAD_BYTES

_HEAD_END = b"\r\n\r\n"
_MAX_INTERIM = 16
_NO_BODY = frozenset((*range(100, 200), 204, 304))
_HEADS = HeadCache(parse_response_head)


class ResponseReader:
    """Reads a response: `start`, `read_head` until a final head is there, then `read_body`.

    `length` is the Content-Length of the head read last. `complete` says that the whole response
    was read, `reusable` that the connection may carry another one after it; only then may
    `start` be called again. After BackendError a reader can't be used again.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_decode",
        "_interim",
        "_last",
        "_left",
        "_no_body",
        "_scanned",
        "_until_close",
        "_websocket",
        "complete",
        "length",
        "reusable",
    )

    def __init__(self) -> None:
        self._last = LastHead(_HEADS)
        self._left = 0
        self.length: int | None = None
        self.start(head_only=False, decode=False, websocket=False)

    def start(self, *, head_only: bool, decode: bool, websocket: bool) -> None:
        """Begin with a response: to a HEAD it is `head_only`.

        Its chunks are relayed as they come, or taken off by `decode`. Where a `websocket` was asked
        for, a 101 is a final head, and everything after it the body.
        """
        self._no_body = head_only
        self._decode = decode
        self._websocket = websocket
        self._buffer: bytes | bytearray = b""
        self._scanned = 0
        self._interim = 0
        self._chunks: ChunkedReader | None = None
        self._until_close = self.complete = self.reusable = False

    def read_whole(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Read the response if `data` is all of it, head and a body of known length.

        Answers None, with nothing read, wherever the other methods have more to do. Raises
        BackendError.
        """
        if self._no_body or self._buffer:
            return None
        whole = self._last.read_whole(data)
        if whole is None:
            return None
        head, body = whole
        if head.status in _NO_BODY:
            return None
        self.length = len(body)
        self.complete = True
        self.reusable = not head.close
        return whole

    def feed_head(self, data: bytes) -> None:
        """Take bytes while `read_head` has given no final head."""
        buffer = self._buffer
        if not buffer:
            self._buffer = data
        elif isinstance(buffer, bytearray):
            buffer += data
        else:
            self._buffer = bytearray(buffer) + data

    def read_head(self) -> ResponseHead | None:
        """Return the next head, interim (1xx) or final, or None. Raises BackendError."""
        buffer = self._buffer
        end = buffer.find(_HEAD_END, self._scanned) + 4
        if end > MAX_HEAD_BYTES or (end < 4 and len(buffer) > MAX_HEAD_BYTES):
            raise BackendError(f"sent a head of more than {MAX_HEAD_BYTES} bytes")
        if end < 4:
            check_begun(buffer, self._scanned)
            self._scanned = max(0, len(buffer) - 3)
            return None
        self._scanned = 0
        head, self.length = _HEADS.read(bytes(buffer[:end]))
        self._buffer = buffer[end:]
        status = head.status
        if status == 101:
            if not self._websocket:
                raise BackendError("switched protocols without being asked")
            self._until_close = True
            return head
        if status < 200:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise BackendError(f"sent more than {_MAX_INTERIM} interim responses")
            return head
        self.reusable = not head.close
        if self._no_body or status in _NO_BODY:
            self._left = 0
        elif head.chunked:
            self._chunks = ChunkedReader()
        elif self.length is not None:
            self._left = self.length
        else:
            self._until_close = True
            self.reusable = False
        return head

    def first_body(self) -> bytes:
        """Return the part of the body that came with the final head. Raises BackendError."""
        data, self._buffer = self._buffer, b""
        return self.read_body(bytes(data))

    def read_body(self, data: bytes) -> bytes:
        """Return what to relay of the next bytes. Raises BackendError.

        Bytes after the end of the response are cut off and forbid reuse of the connection.
        """
        chunks = self._chunks
        if chunks is not None:
            return self._read_chunks(chunks, data)
        if self._until_close:
            return data
        self._left -= len(data)
        if self._left > 0:
            return data
        self.complete = True
        if self._left < 0:
            self.reusable = False
            return data[: self._left]
        return data

    def takes_whole(self) -> Callable[[bytes], bool] | None:
        """Return what tells whether bytes are one whole chunk, to be relayed as they are.

        None where the body does not come in chunks that are relayed so.
        """
        return None if self._chunks is None or self._decode else self._chunks.take_whole

    def _read_chunks(self, chunks: ChunkedReader, data: bytes) -> bytes:
        payload = bytearray() if self._decode else None
        try:
            taken = chunks.feed(data, payload)
        except ChunkError as error:
            raise BackendError(f"sent a broken chunked body: {error}") from None
        if chunks.done:
            self.complete = True
            if taken < len(data):
                self.reusable = False
        if payload is not None:
            return bytes(payload)
        return data if taken == len(data) else data[:taken]

    def end_of_stream(self) -> None:
        """Take note that the backend closed. Raises BackendError unless that ends the body."""
        if self._until_close:
            self.complete = True
            return
        raise BackendError("closed the connection before the end of its response")
