"""Finds `model` in a JSON object as its bytes come in. Does no I/O and builds no values.

What counts, so that no reader of a body takes it for another model than llmhop did:

- A body whose first byte after white space and a UTF-8 BOM is `{` is an object, whatever its
  Content-Type says.
- Each key of the outermost object that is `model` once its escapes are decoded, in any case,
  counts: the last one for Python's json, any case for Go's encoding/json, the first one for others.
- A key of the outermost object that a lenient reader could take for `model`, which skips what is
  not valid in it (an escape that JSON does not have, bytes that are not UTF-8), is refused.
- The object ends where its brace closes. Only white space may follow it, because streaming readers
  stop there; and inside brackets match, and outside of strings there is nothing but brackets and
  the characters of JSON's numbers and literals (with NaN and Infinity), or readers that know
  comments or other quotes could find another end.

What does not change where a key or a value ends is left to the backend: numbers, UTF-8 and lone
surrogates in other strings, commas in what is nested.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from llmhop.errors import UNREADABLE_JSON, ApiError, conflicting_models

KEY_LETTERS: Final = (
    *(rb"[mM]|\\u00[46][dD]", rb"[oO]|\\u00[46][fF]", rb"[dD]|\\u00[46]4"),
    *(rb"[eE]|\\u00[46]5", rb"[lL]|\\u00[46][cC]"),
)
"""How the letters of `model` may be written in a key of JSON, in any case and with escapes."""

MAX_DEPTH: Final = 10_000
"""As deep as Go's encoding/json reads; Python's json reads about 1,000 levels."""
MAX_NAMES: Final = 100
"""How often a body or a query may name its model."""
MAX_VALUE_BYTES: Final = 64 * 1024
"""The longest value of `model`, as it is written."""

_IS_KEY: Final = re.compile(b"".join([b"(?:%b)" % one for one in KEY_LETTERS])).fullmatch
_MAX_KEY_BYTES: Final = 30
MAX_DOUBT_BYTES: Final = 1024
"""No longer key is taken for `model` by anybody."""
# What readers may pass over in a key: bytes that are not UTF-8, control characters, halves of
# surrogate pairs, the backslash of an escape that JSON does not have; JavaScript has more escapes.
_PASSED_OVER: Final = rb"(?>(?:[\x00-\x1f\x7f-\xff]|\\u[dD][89a-fA-F][0-9a-fA-F]{2})*)"
_MAY_BE_KEY: Final = re.compile(
    b"".join(
        [
            rb"%b(?:\\?[%b]|\\(?:u00|x|u\{0*+)(?:%b)\}?)" % (_PASSED_OVER, letter, code)
            for letter, code in (
                *((b"mM", b"[46][dD]"), (b"oO", b"[46][fF]"), (b"dD", b"[46]4")),
                *((b"eE", b"[46]5"), (b"lL", b"[46][cC]")),
            )
        ]
    )
    + rb"%b(?:\\u?)?" % _PASSED_OVER
).fullmatch
_PLAIN_KEY: Final = b"model"
_STRING_VALUE: Final = msgspec.json.Decoder(str)
_BOM: Final = b"\xef\xbb\xbf"

# What comes next. Plain numbers, because an Enum's members cost more to look up.
_START: Final = 0
_FIRST_KEY: Final = 1
_KEY: Final = 2
_COLON: Final = 3
_VALUE: Final = 4
_LITERAL: Final = 5
_COMMA: Final = 6
_NESTED: Final = 7
_STRING: Final = 8
_END: Final = 9
_PASSED: Final = 10

# What a string is.
_OTHER: Final = 0
_IS_A_KEY: Final = 1
_IS_THE_MODEL: Final = 2

# Plain numbers, as bytes are compared with them one by one.
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_OPEN_LIST: Final = 0x5B
_CLOSE_LIST: Final = 0x5D
_OPEN: Final = 0x7B
_CLOSE: Final = 0x7D

_FEW: Final = 32
"""After so many bytes of a string its end is searched for, which is quicker by then."""
_MANY: Final = 256
"""The same where quotes are near each other."""

_LITERALS: Final = b"+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SPACE: Final = b" \t\r\n"


def _table(allowed: bytes) -> bytes:
    return bytes([byte in allowed for byte in range(256)])


_IS_LITERAL: Final = _table(_LITERALS)
_IS_SPACE: Final = _table(_SPACE)
_PLAIN: Final = bytes(range(0x20, 0x7F)).replace(b"\\", b"")
_BEGINS_KEY: Final = _table(b"mM" + bytes(set(range(256)) - set(_PLAIN)))
_IS_PLAIN: Final = _table(_LITERALS + _SPACE + b",:")


class ModelScanner:
    """Reads one body. `spans` are the places of the model's values, quotes included.

    `is_object` says that the body is one, so far; `model` is what it names in keys of any case,
    `exact` whether one of them is plain `model`. `is_utf16` says that Python's json would take it
    for UTF-16 or UTF-32. `error` is what is wrong; nothing is read after it.
    """

    __slots__ = (
        "_after",
        "_base",
        "_escaped",
        "_first",
        "_held",
        "_is_exact",
        "_is_model",
        "_kind",
        "_stack",
        "_state",
        "_value_start",
        "error",
        "exact",
        "is_object",
        "is_utf16",
        "model",
        "spans",
    )

    def __init__(self) -> None:
        self._state = _START
        self._first = b""
        self._base = 0
        self._stack: list[int] = []
        self._kind = _OTHER
        self._after = _COMMA
        self._escaped = False
        self._held = b""
        self._is_model = self._is_exact = False
        self._value_start = 0
        self.is_object = self.exact = self.is_utf16 = False
        self.model: str | None = None
        self.spans: list[tuple[int, int]] = []
        self.error: ApiError | None = None

    def feed(self, data: bytes) -> None:
        """Read the next bytes. Takes some nanoseconds a byte, whatever they are."""
        at, size = 0, len(data)
        if len(self._first) < len(_BOM):
            self._first += data[: len(_BOM) - len(self._first)]
            self.is_utf16 = _is_utf16(self._first)
        while at < size:
            state = self._state
            if state == _STRING:
                at = self._read_string(data, at)
            elif state == _NESTED:
                at = self._read_nested(data, at)
            elif state == _PASSED:
                break
            else:
                at = self._read_outermost(data, at)
        self._base += size

    def finish(self) -> None:
        """Take note that the body has ended."""
        if self.is_object and self._state != _END:
            self._fail("it ends within its object")

    def _fail(self, reason: str) -> None:
        self._give_up(ApiError(400, f"The request body is not JSON that can be read: {reason}."))

    def _give_up(self, error: ApiError) -> None:
        if self.error is None:
            self.error = error
        self._state = _PASSED

    def _read_string(self, data: bytes, at: int) -> int:
        start = at
        if self._escaped:
            self._escaped = False
            at += 1
        end = _end_of_string(data, at)
        if end < 0:
            self._escaped = _is_escaped(data, at, len(data))
            if self._kind != _OTHER:
                self._hold(data[start:])
            return len(data)
        if self._kind == _OTHER:
            self._state = self._after
        elif (
            self._kind == _IS_A_KEY
            and not self._held
            and (end - 1 - start < len(_PLAIN_KEY) or not _BEGINS_KEY[data[start]])
        ):
            # It is shorter than any way to write `model`, or begins otherwise, as most do.
            self._is_model = False
            self._state = _COLON
        else:
            self._end_string(self._held + data[start : end - 1], end)
        return end

    def _hold(self, data: bytes) -> None:
        """Keep the beginning of a key or of the model, whose end is yet to come."""
        longest = MAX_DOUBT_BYTES if self._kind == _IS_A_KEY else MAX_VALUE_BYTES
        self._held += data[: longest + 1 - len(self._held)]

    def _end_string(self, raw: bytes, after: int) -> None:
        self._held = b""
        if self._kind == _IS_A_KEY:
            self._state = _COLON
            self._is_model = False
            if _may_be_model(raw):
                self._take_key(raw)
            return
        self._state = _COMMA
        if len(raw) > MAX_VALUE_BYTES:
            self._give_up(_bad_model(f"is longer than {MAX_VALUE_BYTES} bytes"))
            return
        try:
            model = _STRING_VALUE.decode(b'"%b"' % raw)
        except UNREADABLE_JSON:
            self._give_up(_bad_model("is not a string that can be read"))
            return
        if self.model is not None and model != self.model:
            self._give_up(conflicting_models(self.model, model))
        elif len(self.spans) == MAX_NAMES:
            self._give_up(_bad_model(f"is there more than {MAX_NAMES} times"))
        else:
            self.model = model
            self.exact = self.exact or self._is_exact
            self.spans.append((self._value_start, self._base + after))

    def _take_key(self, raw: bytes) -> None:
        self._is_model = _is_model(raw)
        try:
            key = _STRING_VALUE.decode(b'"%b"' % raw)
        except UNREADABLE_JSON:
            self._fail("a key is not a string that can be read")
            return
        if self._is_model:
            self._is_exact = key == "model"

    def _read_nested(self, data: bytes, at: int) -> int:
        stack, size = self._stack, len(data)
        while at < size:
            byte = data[at]
            at += 1
            if _IS_PLAIN[byte]:
                continue
            if byte == _QUOTE:
                end = _end_of_string(data, at)
                if end < 0:
                    self._kind = _OTHER
                    self._after = _NESTED
                    self._state = _STRING
                    return at
                at = end
            elif byte in (_OPEN, _OPEN_LIST):
                if len(stack) == MAX_DEPTH:
                    self._fail("it is nested too deeply")
                    return size
                stack.append(byte + 2)
            elif byte in (_CLOSE, _CLOSE_LIST):
                if stack.pop() != byte:
                    self._fail("its brackets do not match")
                    return size
                if not stack:
                    self._state = _COMMA
                    return at
            else:
                self._fail(_unexpected(byte))
                return size
        return size

    def _read_outermost(self, data: bytes, at: int) -> int:
        """Read a byte of the outermost object, or white space, or what is around it."""
        byte, state = data[at], self._state
        if _IS_SPACE[byte]:
            if state == _LITERAL:
                self._state = _COMMA
            size = len(data)
            while at < size and _IS_SPACE[data[at]]:
                at += 1
            return at
        at += 1
        if state == _START:
            self._begin(byte, self._base + at - 1)
        elif state == _VALUE:
            self._begin_value(byte, self._base + at - 1)
        elif state == _LITERAL and _IS_LITERAL[byte]:
            pass
        elif byte == _QUOTE and (state in (_KEY, _FIRST_KEY)):
            self._kind = _IS_A_KEY
            self._state = _STRING
        elif byte == 0x3A and state == _COLON:
            self._state = _VALUE
        elif byte == 0x2C and (state in (_COMMA, _LITERAL)):
            self._state = _KEY
        elif byte == _CLOSE and state in (_COMMA, _LITERAL, _FIRST_KEY):
            self._state = _END
        elif state == _END:
            self._fail("something follows its object")
        else:
            self._fail(_unexpected(byte))
        return at

    def _begin(self, byte: int, position: int) -> None:
        if position < len(_BOM) and self._first[: position + 1] == _BOM[: position + 1]:
            return
        if byte == _OPEN and (self._first == _BOM or not self._first.startswith(_BOM[:1])):
            self.is_object = True
            self._state = _FIRST_KEY
        else:
            self._state = _PASSED

    def _begin_value(self, byte: int, position: int) -> None:
        if byte == _QUOTE:
            self._kind = _IS_THE_MODEL if self._is_model else _OTHER
            self._after = _COMMA
            self._value_start = position
            self._state = _STRING
        elif self._is_model:
            self._give_up(_bad_model("must be a string"))
        elif byte in (_OPEN, _OPEN_LIST):
            self._stack.append(byte + 2)
            self._state = _NESTED
        elif _IS_LITERAL[byte]:
            self._state = _LITERAL
        else:
            self._fail(_unexpected(byte))


def _end_of_string(data: bytes, at: int) -> int:
    """Return what comes after the quote that ends the string at `at`, or -1 where none does.

    Of what is escaped only quotes are of interest, so other escapes cost nothing after a few bytes.
    """
    size, window = len(data), _FEW
    while True:
        stop = min(at + window, size)
        while at < stop:
            byte = data[at]
            at += 1
            if byte == _QUOTE:
                return at
            if byte == _BACKSLASH:
                at += 1
        quote = data.find(b'"', at)
        if quote < 0:
            return -1
        if not _is_escaped(data, at, quote):
            return quote + 1
        window = _MANY if quote - at < _FEW else _FEW
        at = quote + 1


def _is_escaped(data: bytes, start: int, place: int) -> bool:
    """Whether a backslash escapes what is at a place of a string; none does at its `start`."""
    first = place
    while first > start and data[first - 1] == _BACKSLASH:
        first -= 1
    return (place - first) % 2 == 1


def _bad_model(reason: str) -> ApiError:
    return ApiError(400, f"The 'model' of the request body {reason}.", param="model")


def _unexpected(byte: int) -> str:
    shown = repr(chr(byte)) if 0x20 <= byte < 0x7F else f"byte 0x{byte:02X}"
    return f"unexpected {shown}"


def _may_be_model(key: bytes) -> bool:
    """Whether some reader may take a key for `model`, perhaps by what it passes over in it."""
    size = len(key)
    if size <= len(_PLAIN_KEY):  # as short as it may be written, which costs less than the pattern
        return key.lower() == _PLAIN_KEY
    return size <= MAX_DOUBT_BYTES and _MAY_BE_KEY(key) is not None


def _is_model(key: bytes) -> bool:
    """Whether a key that may be `model` is so to every reader that minds no case."""
    if len(key) == len(_PLAIN_KEY):
        return key.lower() == _PLAIN_KEY
    return len(key) <= _MAX_KEY_BYTES and b"\\" in key and _IS_KEY(key) is not None


def _is_utf16(first: bytes) -> bool:
    """Whether a body that begins so is UTF-16 or UTF-32 to json.detect_encoding of Python."""
    return first[:2] in (b"\xfe\xff", b"\xff\xfe") or b"\0" in first[:2]
