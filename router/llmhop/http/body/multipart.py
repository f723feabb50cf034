"""Finds the field `model` in a multipart/form-data body as it comes in. Does no I/O.

The body is passed on as it is, but for the value of that field. Parsers differ in what they make
of odd forms, and a backend must not read another model than llmhop did. So a form is refused
where that could be: text before the first boundary or after the last (RFC 2046 allows both, no
client sends any), white space after a boundary, a boundary that is the beginning of other text, or
stands where no line begins by CRLF (Werkzeug's line also begins by LF or CR alone, and Django looks
for none), a part without a blank line, bare LF, folded or repeated header fields, two fields
`model`, one in another case, and one with an empty file name, which is a file to some and a field
to others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from llmhop.errors import BadRequestError, model_twice
from llmhop.http.fields.media_type import is_utf8, parse_value

MAX_PART_HEAD_BYTES: Final = 8 * 1024
MAX_PARTS: Final = 1000
"""As many fields as Starlette takes."""
MAX_MODEL_BYTES: Final = 1024

_CRLF = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):([\t\x20-\x7e\x80-\xff]*+)")
_UNCODED = (b"7bit", b"8bit", b"binary")

# What comes next. Plain numbers, because an Enum's members cost more to look up.
_BEGIN: Final = 0
_AFTER_BOUNDARY: Final = 1
_HEAD: Final = 2
_BODY: Final = 3
_DATA: Final = 4
_MODEL: Final = 5
_END: Final = 6


class FormReader:
    """Reads one form. After an exception it can't be used again."""

    __slots__ = (
        "_dashed",
        "_delimiter",
        "_epilogue",
        "_held",
        "_is_model",
        "_on_model",
        "_parts",
        "_seen_model",
        "_state",
    )

    def __init__(self, boundary: bytes, on_model: Callable[[str], bytes]) -> None:
        """`on_model` is told the value of `model`, once; what it returns goes on instead."""
        self._dashed = b"--" + boundary
        self._delimiter = _CRLF + self._dashed
        self._on_model = on_model
        self._state = _BEGIN
        self._held = bytearray()
        self._epilogue = _CRLF
        self._parts = 0
        self._is_model = self._seen_model = False

    @property
    def complete(self) -> bool:
        """Whether the last boundary was seen."""
        return self._state == _END

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return what goes on.

        Held back is only what may be the beginning of a boundary, the head of a part or the value
        of `model`. Raises BadRequestError, ApiError for a second `model`, and what `on_model`
        raises.
        """
        buffer = data
        if self._held:
            self._held += data
            if self._awaits_more(len(data)):
                return []
            buffer = bytes(self._held)
        pieces: list[bytes] = []
        passed = position = 0
        while True:
            if self._state == _MODEL:
                end = self._find_end_of_model(buffer, position)
                if end is None:
                    break
                pieces += (buffer[passed:position], self._replaced(buffer[position:end]))
                passed = end
                position = end + len(self._delimiter)
                self._state = _AFTER_BOUNDARY
                continue
            after = self._step(buffer, position)
            if after is None:
                break
            position = after
        kept = self._kept_from(buffer, position)
        self._held = bytearray(buffer[kept:])
        if kept > passed:
            pieces.append(buffer[passed:kept])
        return pieces

    def _awaits_more(self, fresh: int) -> bool:
        """Whether what is held has no end with `fresh` bytes more, so that nothing else is to do.

        It is in place of a step over all of it, for clients that send a head byte by byte.
        """
        size = len(self._held)
        if self._state == _HEAD:
            end, most = _HEAD_END, MAX_PART_HEAD_BYTES
        elif self._state == _MODEL:
            end, most = self._dashed, MAX_MODEL_BYTES
        else:
            return False
        # Its first bytes are looked at, and where it is too long it is refused, by the steps.
        if size - fresh < len(_CRLF) or size >= most:
            return False
        return self._held.find(end, max(0, size - fresh - len(end) + 1)) < 0

    def _step(self, buffer: bytes, at: int) -> int | None:
        """Read what stands at a position; return what comes after it, None where bytes miss."""
        delimiter = self._delimiter
        if self._state == _DATA:
            end = self._find_delimiter(buffer, at)
            if end is None:
                return None
            self._state = _AFTER_BOUNDARY
            return end + len(delimiter)
        if self._state == _AFTER_BOUNDARY:
            return self._step_after_boundary(buffer[at : at + 2], at)
        if self._state == _HEAD:
            return self._step_head(buffer, at)
        if self._state == _BODY:
            # At the line end before it, which must not be the one of a boundary.
            piece = buffer[at : at + len(delimiter)]
            if piece == delimiter:
                raise BadRequestError("A part of the form has no blank line after its head.")
            if delimiter.startswith(piece):
                return None
            self._state = _MODEL if self._is_model else _DATA
            return at + 2
        if self._state == _BEGIN:
            first = self._dashed
            piece = buffer[at : at + len(first)]
            if not first.startswith(piece):
                raise BadRequestError("The form does not begin with its boundary.")
            if piece != first:
                return None
            self._state = _AFTER_BOUNDARY
            return at + len(first)
        rest = buffer[at:]
        if not self._epilogue.startswith(rest):
            raise BadRequestError("The form goes on after its last boundary.")
        self._epilogue = self._epilogue[len(rest) :]
        return len(buffer) if rest else None

    def _find_delimiter(self, buffer: bytes, at: int) -> int | None:
        """Return where the delimiter after a part's content begins. Raises BadRequestError."""
        dashes = buffer.find(self._dashed, at)
        if dashes < 0:
            return None
        end = dashes - len(_CRLF)
        if end < at or not buffer.startswith(_CRLF, end):
            raise _misplaced()
        return end

    def _step_after_boundary(self, two: bytes, at: int) -> int | None:
        if two == _CRLF:
            self._parts += 1
            if self._parts > MAX_PARTS:
                reason = f"The form has more than {MAX_PARTS} parts."
                raise BadRequestError(reason, 413, "request_too_large")
            self._state = _HEAD
        elif two == b"--":
            self._state = _END
        elif two in (b"", b"\r", b"-"):
            return None
        else:
            raise BadRequestError("The form's boundary is followed by other text.")
        return at + 2

    def _step_head(self, buffer: bytes, at: int) -> int | None:
        if buffer.startswith(_CRLF, at):
            raise BadRequestError("A part of the form has no head.")
        end = buffer.find(_HEAD_END, at)
        if (len(buffer) - 3 if end < 0 else end) - at > MAX_PART_HEAD_BYTES:
            raise BadRequestError(
                f"The head of a part of the form is larger than {MAX_PART_HEAD_BYTES} bytes.", 431
            )
        if end < 0:
            return None
        head = buffer[at:end]
        if self._dashed in head:
            raise _misplaced()
        self._is_model = _is_model(head)
        if self._is_model and self._seen_model:
            raise model_twice()
        self._seen_model = self._seen_model or self._is_model
        self._state = _BODY
        return end + 2

    def _find_end_of_model(self, buffer: bytes, at: int) -> int | None:
        end = self._find_delimiter(buffer, at)
        shortest = (len(buffer) - len(self._delimiter) + 1 if end is None else end) - at
        if shortest > MAX_MODEL_BYTES:
            raise BadRequestError(f"The form's model is longer than {MAX_MODEL_BYTES} bytes.")
        return end

    def _replaced(self, value: bytes) -> bytes:
        try:
            model = value.decode()
        except UnicodeDecodeError:
            raise BadRequestError("The form's model is not UTF-8.") from None
        return self._on_model(model)

    def _kept_from(self, buffer: bytes, position: int) -> int:
        """Return from where on bytes have to wait for the next ones."""
        if self._state != _DATA:
            return position
        # A boundary holds no CR, so the last one is the only place where a delimiter may begin.
        size = len(buffer)
        last = buffer.rfind(b"\r", max(position, size - len(self._delimiter) + 1))
        if last >= 0 and self._delimiter.startswith(buffer[last:]):
            return last
        # Elsewhere a boundary is refused, so what may be the beginning of one has to wait as well.
        dash = buffer.find(b"-", max(position, size - len(self._dashed) + 1))
        while dash >= 0 and not self._dashed.startswith(buffer[dash:]):
            dash = buffer.find(b"-", dash + 1)
        return size if dash < 0 else dash


def _misplaced() -> BadRequestError:
    return BadRequestError("The form's boundary stands where no line begins by CRLF.")


def _is_model(head: bytes) -> bool:
    """Whether a part with this head is the field `model`, which a file never is.

    Raises BadRequestError.
    """
    fields: dict[bytes, bytes] = {}
    for line in head.split(_CRLF):
        match = _FIELD.fullmatch(line)
        if match is None or match[1].lower() in fields:
            raise BadRequestError("The head of a part of the form is not valid.")
        fields[match[1].lower()] = match[2].strip(b" \t")
    parsed = parse_value(fields.get(b"content-disposition", b""))
    if parsed is None or parsed[0] != b"form-data" or b"name" not in parsed[1]:
        raise BadRequestError("A part of the form has no valid Content-Disposition with a name.")
    parameters = parsed[1]
    name = parameters[b"name"]
    if b"\\" in name or any(key.startswith(b"name*") for key in parameters):
        raise BadRequestError("The name of a part of the form is written with escapes.")
    if name.lower() != b"model":
        return False
    if any(key.startswith(b"filename") for key in parameters):
        if not parameters.get(b"filename", b"").strip():
            raise BadRequestError("The form's model has a file name that is empty or encoded.")
        return False
    if name != b"model":
        raise BadRequestError("The form's field 'model' is written in another case.")
    content_type = parse_value(fields.get(b"content-type", b"text/plain"))
    plain = content_type is not None and is_utf8(content_type[1])
    if not plain or fields.get(b"content-transfer-encoding", b"8bit").lower() not in _UNCODED:
        raise BadRequestError("The form's model is not plain UTF-8 text.")
    return True
