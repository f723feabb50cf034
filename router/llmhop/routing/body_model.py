"""Which model a body names, so that no reader of it finds another one; and how it is renamed.

The one rule, for every size and position: all that a reader may take for the body's model must
agree, and what can't be read so far is refused. What counts in JSON is told in `json_scanner`, in
forms of application/x-www-form-urlencoded in `urlencoded`. UTF-16 and UTF-32, which Python's json
guesses, are refused (RFC 8259 section 8.1) unless the Content-Type is none of text. Every other
body names no model, and goes on where the target does.

Most bodies are read by msgspec, in one pass: where one key alone of a valid JSON object is `model`,
in any case, nobody can read another one.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from llmhop.errors import UNREADABLE_JSON, ApiError
from llmhop.http.body.json_scanner import KEY_LETTERS, MAX_DOUBT_BYTES, ModelScanner
from llmhop.http.body.large_body import PIECE_BYTES, Body, Part, ScannedBody
from llmhop.http.body.urlencoded import find_model
from llmhop.http.parsed_head import RequestHead


class Named(NamedTuple):
    """The model that a body names: `spans` are the places of its values.

    `exact` says that a reader finds it that minds the case of keys, as Python's do.
    """

    model: str
    exact: bool
    spans: list[tuple[int, int]]
    in_form: bool


class _Name:
    """What msgspec shows to a hook wherever it is: the value of each key that can be `model`."""


_NAME: Final = _Name()
_KEYS: Final = ["".join(letters) for letters in product(*zip("model", "MODEL", strict=True))]
_Body: Final = msgspec.defstruct(
    "_Body", [("model", _Name), *[(key, _Name, None) for key in _KEYS if key != "model"]]
)
# msgspec takes the keys that it has no use for whatever bytes are in them.
_NO_ASCII: Final = b"[\x80-\xff]{0,%d}+" % MAX_DOUBT_BYTES
_IN_DOUBT: Final = re.compile(
    b'"%b%b"' % (b"".join([b"%b(?:%b)" % (_NO_ASCII, one) for one in KEY_LETTERS]), _NO_ASCII)
)
_SHORT_BYTES: Final = 16 * 1024
_SAMPLES: Final = 8
_SAMPLE_BYTES: Final = 128
_FEW_QUOTES: Final = 3
_NO_TEXT: Final = re.compile(rb"(?:audio|image|video)/|application/octet-stream\b", re.IGNORECASE)


def model_in(head: RequestHead, body: Body) -> str:
    """Return the model that a body names. Raises ApiError (400, 413)."""
    model = None if head.in_fields else _only_model(body)
    if model is not None:
        return model
    named = read_model(head, body)
    if named is None or not named.exact:
        raise _no_model(body)
    return named.model


def model_if_any(head: RequestHead, body: Body) -> str | None:
    """Return the model that a body names to some reader, or None where it names none.

    Raises ApiError (400, 413) where that can't be told.
    """
    model = None if head.in_fields else _only_model(body)
    if model is not None:
        return model
    named = read_model(head, body)
    return None if named is None else named.model


def read_model(head: RequestHead, body: Body) -> Named | None:
    """Read a body for its model, byte for byte. Raises ApiError (400, 413)."""
    if not body:
        return None
    scanner = _scan(body)
    if scanner.is_utf16 and not _is_no_text(head):
        raise ApiError(400, "The request body must be in UTF-8 (RFC 8259 section 8.1).")
    if scanner.error is not None:
        raise scanner.error
    in_form = find_model(body) if head.in_fields else None
    if in_form is not None and scanner.is_object:
        raise ApiError(
            400,
            "The request body is a JSON object, and a form that names a model by its "
            "Content-Type: send JSON as application/json.",
            param="model",
        )
    if in_form is not None:
        return Named(in_form[0], True, in_form[1], in_form=True)
    if scanner.model is None:
        return None
    return Named(scanner.model, scanner.exact, scanner.spans, in_form=False)


def _is_no_text(head: RequestHead) -> bool:
    types = [value for key, _, value in head.fields if key == b"content-type"]
    return len(types) == 1 and _NO_TEXT.match(types[0]) is not None


def rename(head: RequestHead, body: Body, model: str) -> Body:
    """Return a body with `model` wherever it names one; all other bytes stay as they are."""
    named = read_model(head, body)
    if named is None:
        return body
    new = quote(model, safe="").encode() if named.in_form else msgspec.json.encode(model)
    renamed = ScannedBody()
    renamed.parts = _replaced(_parts(body), named.spans, new)
    renamed.size = sum(map(len, renamed.parts))
    return renamed if isinstance(body, ScannedBody) else bytes(renamed)


def _only_model(body: Body) -> str | None:
    """Return the model where no second key could name one; None where unsure."""
    if isinstance(body, ScannedBody) or not _suits_msgspec(body):
        return None
    found: list[str] = []

    def take_one(_: type, value: object) -> _Name:
        if found or not isinstance(value, str):
            raise msgspec.DecodeError
        found.append(value)
        return _NAME

    try:
        msgspec.json.decode(body, type=_Body, dec_hook=take_one)
    except UNREADABLE_JSON:
        return None
    return None if _has_key_in_doubt(bytes(body)) else found[0]


def _has_key_in_doubt(body: bytes) -> bool:
    if body.isascii():
        return False
    return any(not match[0].isascii() for match in _IN_DOUBT.finditer(body))


def _suits_msgspec(body: bytes | bytearray | memoryview) -> bool:
    """Whether msgspec, which looks at each byte, takes less time than to search for few quotes."""
    size = len(body)
    if not _SHORT_BYTES < size <= PIECE_BYTES:
        return size <= _SHORT_BYTES
    step = size // _SAMPLES
    starts = range(step // 2, size, step)
    quotes = sum([bytes(body[at : at + _SAMPLE_BYTES]).count(b'"') for at in starts])
    return quotes > _FEW_QUOTES


def _parts(body: Body) -> list[Part]:
    return body.parts if isinstance(body, ScannedBody) else [body]


def _scan(body: Body) -> ModelScanner:
    if isinstance(body, ScannedBody):
        scanner = body.scanner
    else:
        scanner = ModelScanner()
        for start in range(0, len(body), PIECE_BYTES):
            scanner.feed(bytes(body[start : start + PIECE_BYTES]))
    scanner.finish()
    return scanner


def _replaced(parts: list[Part], spans: list[tuple[int, int]], new: bytes) -> list[Part]:
    """Return the parts with `new` in place of each span; they are cut, not copied."""
    result: list[Part] = []
    base = place = 0
    for part in parts:
        view, at = memoryview(part), 0
        end = base + len(view)
        while place < len(spans) and spans[place][0] < end:
            start, after = spans[place]
            if start >= base:
                result += (view[at : start - base], new)
            at = min(after, end) - base
            if after > end:
                break
            place += 1
        if at < len(view):
            result.append(view[at:])
        base = end
    if place < len(spans):  # an empty value at the end of a form
        result.append(new)
    return result


def _no_model(body: Body) -> ApiError:
    """Say why a body names no model: 400."""
    if not body:
        reason = (
            "The request names no model: send a JSON body with a 'model', add ?model=NAME, or "
            "put /route/NAME before the path."
        )
    elif (scanner := _scan(body)).is_object and scanner.model is not None:
        reason = "The request body names a model by a key in other letters: write it as 'model'."
    elif scanner.is_object:
        reason = "The request body needs a 'model', which must be a string."
    else:
        reason = "The request body is not a JSON object, so that it names no model."
    return ApiError(400, reason, param="model")
