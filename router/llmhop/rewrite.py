"""Writes the heads that go on: requests to a backend, responses to a client.

Fields that belong to one connection stop here in both directions (RFC 9110 section 7.6.1), and
the framing of what goes out is written anew, never copied.
"""

from __future__ import annotations

from llmhop.http_head import RequestHead, ResponseHead
from llmhop.routing import Route

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")
)
_REQUEST_DROPPED = _HOP_BY_HOP | {
    b"content-length",
    b"expect",  # answered here, because the body is read here
    b"forwarded",
    b"host",
    b"proxy-authorization",
    b"trailer",
    b"x-real-ip",
}
_RESPONSE_DROPPED = _HOP_BY_HOP | {b"content-length", b"proxy-authenticate"}
_REQUEST_DROPPED_WITH_AUTH = _REQUEST_DROPPED | {b"authorization"}


def request_head(
    head: RequestHead, route: Route, body_bytes: int, client_address: bytes, strip_auth: bool
) -> bytes:
    """Return the head that the backend gets, for a body of `body_bytes`.

    What a client claims about where it comes from (X-Forwarded-*, Forwarded, X-Real-IP) is
    replaced by what is known.
    """
    dropped = _REQUEST_DROPPED_WITH_AUTH if strip_auth else _REQUEST_DROPPED
    if head.nominated or route.overridden:
        dropped = dropped | head.nominated | route.overridden
    lines = [b"%b %b HTTP/1.1" % (head.method, route.url.target(head.target))]
    lines += [
        b"%b: %b" % (name, value)
        for key, name, value in head.fields
        if key not in dropped and not key.startswith(b"x-forwarded-")
    ]
    own = [
        (b"host", b"Host: " + route.host),
        (b"x-forwarded-for", b"X-Forwarded-For: " + client_address),
        (b"x-forwarded-proto", b"X-Forwarded-Proto: http"),
    ]
    if head.host:
        own.append((b"x-forwarded-host", b"X-Forwarded-Host: " + head.host))
    lines += [line for key, line in own if key not in route.overridden]
    if head.chunked or head.content_length is not None:
        lines.append(b"Content-Length: %d" % body_bytes)
    lines.append(route.header_lines)
    return b"\r\n".join(lines)


def response_head(head: ResponseHead, *, decoded: bool, close: bool) -> bytes:
    """Return the head that the client gets.

    `decoded` says that chunks are taken off; the end of the connection then ends the body.
    """
    dropped = _RESPONSE_DROPPED | head.nominated if head.nominated else _RESPONSE_DROPPED
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason)]
    lines += [b"%b: %b" % (name, value) for key, name, value in head.fields if key not in dropped]
    if head.status >= 200 and head.status != 204:
        if head.chunked and not decoded:
            lines.append(b"Transfer-Encoding: chunked")
        elif head.content_length is not None:
            lines.append(b"Content-Length: %d" % head.content_length)
        if close:
            lines.append(b"Connection: close")
    elif head.status == 204 and close:
        lines.append(b"Connection: close")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
