"""Finds `model` where it is written as `a=1&model=NAME`.

So it is in a query, and in a body of application/x-www-form-urlencoded, which FastAPI's Form reads,
and so may the backend of a request whose target names the model. In both, a name in any case
counts. Parsers differ about `;`, which some take for `&`; where that changes the model, it is
refused.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from llmhop.errors import ApiError, conflicting_models
from llmhop.http.body.json_scanner import MAX_NAMES
from llmhop.http.body.large_body import Body
from llmhop.limits import MAX_QUOTED_NAME_BYTES

MAX_FORM_BYTES: Final = 256 * 1024
"""Larger bodies are refused: they are read at once."""

_NAME: Final = (
    rb"(?:[mM]|%[46][dD])(?:[oO]|%[46][fF])(?:[dD]|%[46]4)(?:[eE]|%[46]5)(?:[lL]|%[46][cC])"
)
_FIELD: Final = re.compile(rb"(?:\A|(?<=[&;]))%b(?:=([^&;]*+)|(?=[&;]|\Z))([&;]?)" % _NAME)


class Field(NamedTuple):
    """A field `model`. `span` is the place of its value, None where there is no `=`."""

    value: str
    span: tuple[int, int] | None


def decode_name(quoted: bytes) -> str:
    """Return the name of a model that was written with percent signs.

    One that is too long to be any model's is returned as it is: to decode it would take long.
    """
    text = quoted.decode("latin-1")
    return unquote(text, errors="replace") if len(quoted) <= MAX_QUOTED_NAME_BYTES else text


def find_fields(text: bytes) -> list[Field]:
    """Return every field `model`, in order. Raises ApiError (400).

    Of values that are written in different ways, no more is decoded than of one name.
    """
    fields: list[Field] = []
    decoded: dict[bytes, str] = {}
    left = MAX_QUOTED_NAME_BYTES
    for match in _FIELD.finditer(text):
        if len(fields) == MAX_NAMES:
            raise ApiError(
                400,
                f"The 'model' of the query or form is there more than {MAX_NAMES} times.",
                param="model",
            )
        if match[2] == b";" or text.startswith(b";", max(match.start() - 1, 0)):
            raise ApiError(
                400,
                "The query or form has a ';' beside its 'model', where '&' belongs.",
                param="model",
            )
        quoted = match[1] or b""
        value = decoded.get(quoted)
        if value is None:
            left -= len(quoted)
            plain = quoted.replace(b"+", b" ")
            value = decode_name(plain) if left >= 0 else plain.decode("latin-1")
            decoded[quoted] = value
        fields.append(Field(value, None if match[1] is None else match.span(1)))
    return fields


def find_model(body: Body) -> tuple[str, list[tuple[int, int]]] | None:
    """Return the model that a form names and where its values stand, or None.

    Raises ApiError (400) where it names two, (413) where the form is too large.
    """
    if len(body) > MAX_FORM_BYTES:
        raise ApiError(
            413,
            f"A body of application/x-www-form-urlencoded may have {MAX_FORM_BYTES} bytes. "
            "Send what is larger with the Content-Type of what it is, such as application/json.",
            code="request_too_large",
        )
    fields = find_fields(bytes(body))
    for field in fields[1:]:
        if field.value != fields[0].value:
            raise conflicting_models(fields[0].value, field.value)
    if not fields:
        return None
    return fields[0].value, [field.span for field in fields if field.span is not None]
