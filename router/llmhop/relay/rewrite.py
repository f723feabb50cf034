"""Writes the heads that are forwarded: requests to a backend, responses to a client.

Which fields are forwarded is decided in `http.fields`, when a head is parsed; the framing is
written anew, never copied.
"""

from __future__ import annotations

from llmhop.http.fields.forwarding import CREDENTIALS, REQUEST_DROPPED, kept_lines
from llmhop.http.fields.upgrade import TO_WEBSOCKET
from llmhop.http.fields.via import via_line
from llmhop.http.parsed_head import RequestHead, ResponseHead
from llmhop.routing.decision import Route
from llmhop.routing.target import backend_target

_HOST_LESS = b"Host: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n"
_OWN = _HOST_LESS + b"X-Forwarded-Host: %b\r\n"


def request_start(
    head: RequestHead,
    route: Route,
    replica: int,
    client: tuple[bytes, bytes],
    pseudonym: bytes,
    *,
    strip_auth: bool,
) -> bytes:
    """Return the head that a replica gets, up to the value of X-Request-Id.

    `replica` is its index in the backend's urls; `client` is the client's address and the scheme
    that it uses; `pseudonym` is what llmhop calls itself in Via.

    What a client claims about where it comes from (X-Forwarded-*, Forwarded, X-Real-IP) is
    replaced by what is known; what the config sets for the route replaces all else.
    """
    kept, authorization = head.kept, b"" if strip_auth else head.authorization
    overridden = route.overridden
    if overridden:
        if not overridden.isdisjoint(CREDENTIALS):
            authorization = b""
        if not overridden.isdisjoint(head.names):
            kept = kept_lines(head.fields, REQUEST_DROPPED | head.nominated | overridden)
    if head.host:
        own = _OWN % (route.hosts[replica], *client, head.host)
    else:
        own = _HOST_LESS % (route.hosts[replica], *client)
    if route.overrides_own:
        lines = own.splitlines(keepends=True)
        own = b"".join([x for x in lines if x.partition(b":")[0].lower() not in overridden])
    return b"".join(
        (
            head.method,
            b" ",
            backend_target(route.config.urls[replica], head.method, route.target or head.target),
            b" HTTP/1.1\r\n",
            own,
            authorization,
            kept,
            via_line(head.http10, pseudonym),
            TO_WEBSOCKET if head.websocket else b"",
            b"X-Request-Id: ",
        )
    )


def interim_head(head: ResponseHead) -> bytes:
    """Return the head of a 1xx response as the client gets it."""
    return head.start + b"\r\n"


def response_head(
    head: ResponseHead,
    length: int | None,
    request_id: bytes,
    date: bytes,
    *,
    decoded: bool,
    close: bool,
    cors: bytes,
) -> bytes:
    """Return the final head that the client gets; `length` is what the backend announced.

    `decoded` says that chunks are taken off; the end of the connection then ends the body. `date`
    is when it came where the backend has not said so (RFC 9110 section 6.6.1), else empty. `cors`
    are the lines that tell a browser whose pages may read it.
    """
    framing = b"Date: %b\r\n" % date if date else b""
    if head.status != 204:
        if head.chunked and not decoded:
            framing += b"Transfer-Encoding: chunked\r\n"
        elif length is not None:
            framing += b"Content-Length: %d\r\n" % length
    if close and head.status != 101:
        framing += b"Connection: close\r\n"
    return b"%b%bX-Request-Id: %b\r\n%b\r\n" % (head.start, cors, request_id, framing)
