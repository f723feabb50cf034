"""The chunked transfer coding (RFC 9112 section 7.1), parsed incrementally.

One strict reader serves both directions: sizes are plain hex digits, lines end with CRLF.
"""

from __future__ import annotations

import re
import sys
from string import hexdigits
from typing import Final

# No group is repeated possessively: Python 3.11.2, which is Debian 12's, then loses its place
# (CPython gh-106052).
_EXTENSION = rb"[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15}+)%b\r\n" % _EXTENSION)
# Trailers must not hold framing and routing (RFC 9110 section 6.5.1): a server that merges trailers
# into the fields would take them for such.
_TRAILER_LINE = re.compile(
    rb"(?!(?i:content-length|transfer-encoding|host):)"
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+\r\n"
)
# Whole chunks of up to 15 bytes, a run of them, whose size lines have up to _LINE_BYTES.
_SMALL_CHUNKS = re.compile(
    rb"(?s:(?=[^\n]{2,7}+\n)0*+(?:%b)){0,512}"
    % b"|".join(
        [b"[%x%X]%b\r\n.{%d}\r\n" % (size, size, _EXTENSION, size) for size in range(1, 16)]
    )
)
_MAX_LINE_BYTES = 4096
_LINE_BYTES: Final = 8
_MAX_EXCESS_BYTES: Final = 16 * 1024
"""What size lines may take in all beyond _LINE_BYTES for each, and a byte for each of data. Go's
net/http has such a bound too; chunks of one byte each, without extensions, stay within it."""
_MAX_TRAILER_BYTES = 16 * 1024
_CRLF = b"\r\n"
_ZERO: Final = 0x30
_CR: Final = 0x0D
_DIGITS: Final = bytes([int(chr(i), 16) if chr(i) in hexdigits else 0 for i in range(256)])


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
    """Finds the chunks and the end of one chunked body. After ChunkError it can't be used again."""

    __slots__ = ("_allowed", "_excess", "_left", "_line", "_state", "_trailer_bytes")

    def __init__(self) -> None:
        self._state = _SIZE
        self._line = bytearray()
        self._left = 0
        self._excess = 0
        self._trailer_bytes = 0
        self._allowed = 0  # how many more chunks may be taken at once

    @property
    def done(self) -> bool:
        """Whether the whole body, trailers included, was seen."""
        return self._state == _DONE

    def feed(
        self, data: bytes | bytearray, payload: bytearray | None = None, most: int = sys.maxsize
    ) -> int:
        """Take the next bytes; return how many of them belong to the body.

        What the chunks hold is added to `payload` if one is given; after about `most` chunks the
        others are left for the next call. Raises ChunkError.
        """
        position, end = 0, len(data)
        self._allowed = most
        while position < end and self._state != _DONE and self._allowed > 0:
            if self._state == _DATA:
                taken = min(self._left, end - position)
                if payload is not None:
                    payload += data[position : position + taken]
                position += taken
                self._left -= taken
                if self._left == 0:
                    self._state = _DATA_END
                    if data.startswith(_CRLF, position):
                        self._state = _SIZE
                        position += 2
            elif self._state == _DATA_END:
                position = self._take_data_end(data, position)
            else:
                if self._state == _SIZE and not self._line:
                    position = self._take_small(data, position, payload)
                    position = self._take_whole_ones(data, position, payload)
                position = self._take_to_newline(data, position)
        return position

    def take_whole(self, data: bytes) -> bool:
        """Take `data` if it is exactly one chunk, as events of a stream mostly are.

        Everything else, errors included, is left to `feed`.
        """
        if self._state != _SIZE or self._line or self._excess:
            return False
        length = len(data)
        known = _LINES.get(length)
        if known is not None and data.startswith(known):
            return data.endswith(_CRLF)
        match = _SIZE_LINE.match(data, 0, _MAX_LINE_BYTES)
        if match is None:
            return False
        size = int(match[1], 16)
        line_bytes = match.end()
        if not 0 < size == length - line_bytes - 2 or line_bytes > _LINE_BYTES + size:
            return False
        if length < _MAX_KNOWN:
            _LINES[length] = match[0]
        return data.endswith(_CRLF)

    def _take_small(self, data: bytes | bytearray, position: int, payload: bytearray | None) -> int:
        while self._allowed > 0:
            run = _SMALL_CHUNKS.match(data, position)
            if run is None or run.end() == position:
                break
            end = run.end()
            if payload is not None or self._excess:
                self._take_run(bytes(data[position:end]), payload)
            position = end
        return position

    def _take_run(self, run: bytes, payload: bytearray | None) -> None:
        """Take what _SMALL_CHUNKS has found, and so checked."""
        position, end, chunks = 0, len(run), 0
        while position < end:
            line = position
            while run[position] == _ZERO:
                position += 1
            size = _DIGITS[run[position]]
            start = position + 3 if run[position + 1] == _CR else run.find(b"\n", position) + 1
            if self._excess:  # which none of these adds to
                self._excess = max(0, self._excess + start - line - _LINE_BYTES - size)
            position = start + size
            if payload is not None:
                payload += run[start:position]
            position += len(_CRLF)
            chunks += 1
        self._allowed -= chunks

    def _take_whole_ones(
        self, data: bytes | bytearray, position: int, payload: bytearray | None
    ) -> int:
        # What the states below do, in fewer steps; they are left what is odd or cut.
        end, excess = len(data), self._excess
        while self._allowed > 0:
            match = _SIZE_LINE.match(data, position, position + _MAX_LINE_BYTES)
            if match is None:
                break
            start, size = match.end(), int(match[1], 16)
            stop = start + size
            excess = max(0, excess + start - position - _LINE_BYTES - size)
            if size == 0 or stop > end - 2 or excess > _MAX_EXCESS_BYTES:
                break
            if not data.startswith(_CRLF, stop):
                break
            self._excess = excess
            if payload is not None:
                payload += data[start:stop]
            position = stop + 2
            self._allowed -= 1
        return position

    def _take_to_newline(self, data: bytes | bytearray, position: int) -> int:
        newline = data.find(b"\n", position, position + _MAX_LINE_BYTES)
        stop = position + _MAX_LINE_BYTES + 1 if newline < 0 else newline + 1
        self._line += data[position:stop]
        if len(self._line) > _MAX_LINE_BYTES:
            raise ChunkError("a chunk's size line or a trailer is too long")
        if newline >= 0:
            line = bytes(self._line)
            self._line.clear()
            self._take_line(line)
        return min(stop, len(data))

    def _take_data_end(self, data: bytes | bytearray, position: int) -> int:
        expected = _CRLF[len(self._line) :]
        piece = data[position : position + len(expected)]
        if not expected.startswith(piece):
            raise ChunkError("a chunk does not end where its size says")
        self._line += piece
        if self._line == _CRLF:
            self._line.clear()
            self._state = _SIZE
        return position + len(piece)

    def _take_line(self, line: bytes) -> None:
        if self._state == _SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise ChunkError("a chunk's size is not a hex number of up to 15 digits")
            self._left = size = int(match[1], 16)
            self._state = _DATA if size else _TRAILER
            self._excess = max(0, self._excess + len(line) - _LINE_BYTES - size)
            if self._excess > _MAX_EXCESS_BYTES:
                raise ChunkError("it is more framing than data")
            self._allowed -= 1
            return
        self._trailer_bytes += len(line)
        if line == _CRLF:
            self._state = _DONE
        elif not _TRAILER_LINE.fullmatch(line):
            raise ChunkError("a trailer is not a header field that may stand there")
        elif self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise ChunkError("the trailers are too long")
