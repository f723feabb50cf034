"""Why no replica served a request, and the error for its client."""

from __future__ import annotations

from typing import Final

from llmhop.errors import (
    BUSY,
    LOOP,
    NO_MODEL,
    ApiError,
    backend_broke,
    backend_invalid,
    backend_unavailable,
    backend_untrusted,
    leads_nowhere,
    queue_full,
)
from llmhop.http.parsed_head import RequestHead
from llmhop.limits import STARTING_S
from llmhop.models.models import Model

_SAFE: Final = (b"GET", b"HEAD", b"OPTIONS")

# Of several replicas' reasons the greatest one is told.
LOOPED: Final = 1
GREETED: Final = 2
UNTRUSTED: Final = 3
UNREACHED: Final = 4
FULL: Final = 5
BROKE: Final = 6
INVALID: Final = 7
"""With this and the one before, one of them may have worked on the request."""

_UNSERVED: Final[dict[bytes, tuple[int, str | None]]] = {
    BUSY: (FULL, None),
    LOOP: (LOOPED, "answered that the request came in a loop or through too many llmhops"),
    NO_MODEL: (UNREACHED, "is an llmhop that has no such model"),
}


def cause_of_unserved(why: bytes) -> tuple[int, str | None]:
    """Return why an llmhop behind did not serve a request, and what the log says, if it is news.

    `why` is the kind of error in its Proxy-Status.
    """
    return _UNSERVED.get(why, (UNREACHED, "is an llmhop that can't reach its backend"))


def cause_of(kind: str, silent: bool, waited: float) -> int:
    """Return why there was no response; `kind` is "closed" or "invalid_response".

    `silent` says that not a byte has come on the connection, `waited` for how many seconds nothing
    had moved. One that soon closes a new connection without a byte is most likely starting; later
    it is an engine that ended, perhaps by this request.
    """
    if kind == "invalid_response":
        return INVALID
    return UNREACHED if silent and waited <= STARTING_S else BROKE


def cause_of_no_connection(kind: str) -> int:
    """Return why there was no connection; `kind` is one of metric_layout.FAILURES."""
    if kind == "invalid_response":
        return GREETED
    return UNTRUSTED if kind == "certificate" else UNREACHED


def may_go_on(cause: int, request: RequestHead, has_body: bool) -> bool:
    """Whether the next replica may get a request that this one was sent, too.

    It is where nothing came on a new connection, and being asked twice does no harm (RFC 9110
    section 9.2.2): the backend may still have got it.
    """
    is_safe = request.method in _SAFE and not (request.websocket or has_body)
    return cause == UNREACHED and is_safe


def error_for(cause: int, model: Model) -> ApiError:
    """Return the error that a client gets when no replica of `model` is left."""
    if cause == INVALID:
        return backend_invalid(model.name)
    if cause == GREETED:  # it sent bytes before it was asked
        return backend_invalid(model.name, unserved=True)
    if cause == UNTRUSTED:
        return backend_untrusted(model.name, model.retry_after())
    if cause == BROKE:
        return backend_broke(model.name)
    if cause == FULL:
        return queue_full(model.name)
    if cause == LOOPED:
        return leads_nowhere()
    return backend_unavailable(model.name, model.retry_after())
