"""Which model a JSON body names.

The last `model` of the outermost object counts, as for Python's json in vLLM. A large body is not
read from its beginning where its end tells.
"""

from __future__ import annotations

from typing import Final

import msgspec

from llmhop.errors import UNREADABLE_JSON, ApiError
from llmhop.large_body import LARGE_BYTES
from llmhop.request_reader import Body


class _Body(msgspec.Struct):
    model: str


class _AnyObject(msgspec.Struct):
    """Any JSON object, to tell a bad `model` from bad JSON."""


_BODY: Final = msgspec.json.Decoder(_Body)
_OBJECT: Final = msgspec.json.Decoder(_AnyObject)

_END_BYTES: Final = 4096
_KEY: Final = b'"model"'
# What can stand before a key. Not a backslash: that makes the quote a part of a string.
_BEFORE_KEY: Final = b",{ \t\r\n"


def model_in(body: Body) -> str:
    """Return the model that a body names. Raises ApiError (400)."""
    model = model_at_end(body) if len(body) > LARGE_BYTES else None
    if model is not None:
        return model
    try:
        return _BODY.decode(body).model
    except UNREADABLE_JSON as error:
        raise _explain(body, error) from None


def model_if_any(body: Body) -> str | None:
    """The model that a body names, or None where it is not JSON or names none."""
    try:
        return _BODY.decode(body).model
    except UNREADABLE_JSON:
        return None


def model_at_end(body: Body) -> str | None:
    """The model that a body names in its last 4 KB, or None where those don't tell.

    If the body is JSON, that is its model: the quote before `model` begins a string, because
    after one that ends a string there is no letter; and what follows closes one brace more than
    it opens, at the body's end, so that it stands in the outermost object. Whether all of it is
    JSON is left to the backend: to know, one would have to read it.
    """
    end = bytes(body[-_END_BYTES:])
    start = end.rfind(_KEY)
    if start < 1 or end[start - 1] not in _BEFORE_KEY:
        return None
    try:
        return _BODY.decode(b"{" + end[start:]).model
    except UNREADABLE_JSON:
        return None


def _explain(body: Body, error: Exception) -> ApiError:
    """Say why there is no `model` to be read from a body: 400."""
    if not isinstance(error, msgspec.ValidationError):
        return _not_json(body, error)
    try:
        _OBJECT.decode(body)
    except msgspec.ValidationError:
        return ApiError(400, "The request body is not a JSON object.")
    except UNREADABLE_JSON as worse:
        return _not_json(body, worse)
    return ApiError(400, "The request body needs a 'model', which must be a string.", param="model")


def _not_json(body: Body, error: Exception) -> ApiError:
    if not body:
        return ApiError(
            400,
            "The request names no model: send a JSON body with a 'model', add ?model=NAME, or "
            "put /route/NAME before the path.",
            param="model",
        )
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return ApiError(400, f"The request body is not JSON that can be read: {reason}.")
