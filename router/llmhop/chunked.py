"""The chunked transfer coding (RFC 9112 section 7.1), found in bytes that come in any pieces.

One strict reader serves both directions: sizes are plain hex digits, lines end with CRLF.
"""

from __future__ import annotations

import re
from typing import Final

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
# Framing and routing are no matter for trailers (RFC 9110 section 6.5.1), and who adds trailers to
# the fields would take them for such.
_TRAILER_LINE = re.compile(
    rb"(?!(?i:content-length|transfer-encoding|host):)"
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n"
)
_MAX_LINE_BYTES = 4096
_MAX_TRAILER_BYTES = 16 * 1024
_CRLF = b"\r\n"


class ChunkError(ValueError):
    """The bytes are not a chunked body."""


# What comes next. Plain numbers, because an Enum's members cost more to look up.
_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILER: Final = 3
_DONE: Final = 4


# The size line of a whole chunk by the length of all of it, in the spelling that came last: with
# that line, no other size is possible.
_LINES: Final[dict[int, bytes]] = {}
_MAX_KNOWN: Final = 4096


def write_chunk(pieces: list[bytes], last: bool) -> list[bytes]:
    """Write `pieces` as one chunk; with `last`, the end of the body after it."""
    size = sum(map(len, pieces))
    chunk = [b"%x\r\n" % size, *pieces, _CRLF] if size else []
    if last:
        chunk.append(b"0\r\n\r\n")
    return chunk


class ChunkedReader:
    """Finds the chunks and the end of one chunked body. After ChunkError it is of no more use."""

    __slots__ = ("_left", "_line", "_state", "_trailer_bytes")

    def __init__(self) -> None:
        self._state = _SIZE
        self._line = b""
        self._left = 0
        self._trailer_bytes = 0

    @property
    def done(self) -> bool:
        """Whether the whole body, trailers included, was seen."""
        return self._state == _DONE

    def feed(self, data: bytes, payload: bytearray | None = None) -> int:
        """Take the next bytes; return how many of them belong to the body.

        What the chunks hold is added to `payload` if one is given. Raises ChunkError.
        """
        position, end = 0, len(data)
        while position < end and self._state != _DONE:
            if self._state == _DATA:
                taken = min(self._left, end - position)
                if payload is not None:
                    payload += data[position : position + taken]
                position += taken
                self._left -= taken
                if self._left == 0:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                position = self._take_data_end(data, position)
            else:
                newline = data.find(b"\n", position)
                stop = end if newline < 0 else newline + 1
                self._line += data[position:stop]
                position = stop
                if len(self._line) > _MAX_LINE_BYTES:
                    raise ChunkError("a chunk's size line or a trailer is too long")
                if newline >= 0:
                    line, self._line = self._line, b""
                    self._take_line(line)
        return position

    def take_whole(self, data: bytes) -> bool:
        """Take `data` if it is exactly one chunk, as events of a stream mostly are.

        Everything else, errors included, is left to `feed`.
        """
        if self._state != _SIZE or self._line:
            return False
        length = len(data)
        known = _LINES.get(length)
        if known is not None and data.startswith(known):
            return data.endswith(_CRLF)
        match = _SIZE_LINE.match(data, 0, _MAX_LINE_BYTES)
        if match is None:
            return False
        size = int(match[1], 16)
        if size == 0 or match.end() + size + 2 != length:
            return False
        if length < _MAX_KNOWN:
            _LINES[length] = match[0]
        return data.endswith(_CRLF)

    def _take_data_end(self, data: bytes, position: int) -> int:
        expected = _CRLF[len(self._line) :]
        piece = data[position : position + len(expected)]
        if not expected.startswith(piece):
            raise ChunkError("a chunk does not end where its size says")
        self._line += piece
        if self._line == _CRLF:
            self._line = b""
            self._state = _SIZE
        return position + len(piece)

    def _take_line(self, line: bytes) -> None:
        if self._state == _SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise ChunkError("a chunk's size is not a hex number")
            self._left = int(match[1], 16)
            self._state = _DATA if self._left else _TRAILER
            return
        self._trailer_bytes += len(line)
        if line == _CRLF:
            self._state = _DONE
        elif not _TRAILER_LINE.fullmatch(line):
            raise ChunkError("a trailer is not a header field that may stand there")
        elif self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise ChunkError("the trailers are too long")
