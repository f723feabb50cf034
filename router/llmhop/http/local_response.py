"""Responses of llmhop's own: errors, the list of models, health."""

from __future__ import annotations

import time
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from llmhop.errors import ApiError
from llmhop.http.anthropic import error_body
from llmhop.http.fields.proxy_status import proxy_status_line

SERVER = b"Server: llmhop"
"""By which a question for /health knows that an llmhop answers."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=1)
def http_date(seconds: int) -> bytes:
    """Write a Unix time as RFC 9110 section 5.6.7 does, whatever the locale."""
    t = time.gmtime(seconds)
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return f"{day}, {t.tm_mday:02} {month} {t.tm_year} {clock} GMT".encode()


def date_now() -> bytes:
    """Return the value of Date for a response that comes or is made now."""
    return http_date(int(time.time()))


class LocalResponse(NamedTuple):
    """A response of llmhop's own.

    `retry_after` is in seconds. `unserved` tells a downstream llmhop why no engine has seen
    the request (see http.fields.proxy_status); empty where there is none. `fields` are further
    lines of the head.
    """

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    retry_after: int | None = None
    unserved: bytes = b""
    fields: bytes = b""


def render(
    response: LocalResponse, request_id: bytes, *, head_only: bool, close: bool, cors: bytes = b""
) -> bytes:
    """Return a whole response; `head_only` answers a HEAD request.

    `cors` are the lines that tell a browser whose pages may read it.
    """
    status, body, content_type, retry_after, unserved, fields = response
    lines = [
        b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode()),
        b"Date: " + date_now(),
        SERVER,
        b"X-Request-Id: " + request_id,
    ]
    if status != HTTPStatus.NO_CONTENT:
        lines += [b"Content-Type: " + content_type, b"Content-Length: %d" % len(body)]
    if status == HTTPStatus.UNAUTHORIZED:
        lines.append(b"WWW-Authenticate: Bearer")
    elif status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        lines.append(b"Accept-Encoding: identity")  # RFC 9110 section 12.5.3
    if retry_after is not None:
        lines.append(b"Retry-After: %d" % retry_after)
    if unserved:
        lines.append(proxy_status_line(unserved))
    if close:
        lines.append(b"Connection: close")
    head = b"\r\n".join(lines)
    return b"%b\r\n%b%b\r\n%b" % (head, fields, cors, b"" if head_only else body)


def error_response(
    error: ApiError, request_id: bytes, to_llmhop: bool, *, to_anthropic: bool = False
) -> LocalResponse:
    """Return the response for an error, to a client or to a downstream llmhop.

    `to_anthropic` says that the client speaks the API of Anthropic.
    """
    text = request_id.decode()
    return LocalResponse(
        error.status,
        error_body(error, text) if to_anthropic else error.body(text),
        retry_after=error.retry_after,
        unserved=error.unserved if to_llmhop else b"",
    )
