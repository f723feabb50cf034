"""Finds `model` in an application/x-www-form-urlencoded body, as in `a=1&model=NAME`.

FastAPI's Form reads such bodies, and so may the backend of a request whose target names the
model. Parsers differ about `;`, which some take for `&`; where that changes the model, the form is
refused.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

from llmhop.errors import ApiError, conflicting_models
from llmhop.request_reader import Body

MAX_FORM_BYTES: Final = 256 * 1024
"""Larger ones are refused: they are read at once."""

_NAME: Final = (
    rb"(?:[mM]|%[46][dD])(?:[oO]|%[46][fF])(?:[dD]|%[46]4)(?:[eE]|%[46]5)(?:[lL]|%[46][cC])"
)
_FIELD: Final = re.compile(rb"(?:\A|(?<=[&;]))%b(?:=([^&;]*+)|(?=[&;]|\Z))([&;]?)" % _NAME)


def find_model(body: Body) -> tuple[str, list[tuple[int, int]]] | None:
    """Return the model that a form names and where its values stand, or None.

    Raises ApiError (400) where it names two, (413) where the form is too large.
    """
    if len(body) > MAX_FORM_BYTES:
        raise ApiError(
            413,
            f"A body of application/x-www-form-urlencoded may have {MAX_FORM_BYTES} bytes. "
            "Send larger ones with the Content-Type of what they hold.",
            code="request_too_large",
        )
    form = bytes(body)
    found: str | None = None
    spans: list[tuple[int, int]] = []
    for match in _FIELD.finditer(form):
        value = unquote_plus((match[1] or b"").decode("latin-1"), errors="replace")
        if found is not None and value != found:
            raise conflicting_models(found, value)
        if match[2] == b";" or form.startswith(b";", max(match.start() - 1, 0)):
            raise ApiError(
                400, "The form has a ';' beside its 'model', where '&' belongs.", param="model"
            )
        found = value
        if match[1] is not None:
            spans.append(match.span(1))
    return None if found is None else (found, spans)
