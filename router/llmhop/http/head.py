"""Heads of HTTP/1 messages: parsed by httptools (llhttp), then checked more strictly.

Nothing here does I/O. A head is parsed with a parser of its own, from exactly the bytes up to its
empty line, so that no parser state outlives a message. Where a message ends is decided here
and in `chunked`, for both directions (RFC 9112 section 6.3).
"""

from __future__ import annotations

import re

import httptools

from llmhop.errors import BackendError, BadRequestError
from llmhop.http.fields.forwarding import (
    CREDENTIALS,
    REQUEST_DROPPED,
    RESPONSE_DROPPED,
    field_lines,
    hyphened,
    kept_lines,
    request_id,
    without_cors,
)
from llmhop.http.fields.known_fields import Field, KnownFields, MakeError
from llmhop.http.fields.media_type import form_boundary
from llmhop.http.fields.proxy_status import take_proxy_status
from llmhop.http.fields.upgrade import TO_WEBSOCKET, is_to_websocket, take_key
from llmhop.http.fields.via import PREFIX
from llmhop.http.parsed_head import RequestHead, ResponseHead
from llmhop.limits import MAX_FIELDS

_CONTROL = bytes(set(range(0x20)) - set(b"\t\r\n")) + b"\x7f"
_ABSOLUTE = re.compile(
    rb"https?://(?P<host>[^/?#@]++)(?P<rest>[/?].*+)?", re.IGNORECASE | re.DOTALL
)
# A name or an address, and perhaps a port (RFC 9110 section 7.2). No comma, though a name may
# have one, because it would make a list of what is passed on as X-Forwarded-Host.
_HOST = re.compile(rb"(?:[\w.~!$&'()*+;=%-]++|\[[\w:.%~-]++\])?(?::[0-9]*+)?")
# A dot segment would let a client leave the path prefix of a backend's URL.
_DOT_SEGMENT = re.compile(rb"(?:/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:/|\\|%2f|%5c|;|\Z)", re.IGNORECASE)
# A base URL that ends in a slash, before a path that begins with one. Not in a URL that is the name
# of a model: s3://bucket/model.
_SLASHES = re.compile(rb"(?<!:)/{2,}+")
_VERSION = b"HTTP/1."
_OTHER_VERSION = re.compile(rb"(?:\r\n)?[A-Z]++ [^ \r\n]++ HTTP/(?!1\.[01])([0-9]\.[0-9])\r\n")
_BARE_LINE_END = "A line of the head does not end with CRLF."
_CONTROL_CHARACTER = "The head holds a control character."
_FORWARDS = re.compile(rb"[0-9]{1,9}")


# Reading a form from requests that are answered here, or have no body, would be of no use.
_BODILESS = (b"GET", b"HEAD")
_FIELDS = b"application/x-www-form-urlencoded"


class _Sink:
    """Receives the callbacks of httptools while it parses."""

    __slots__ = ("fields", "reason", "url")

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.url = b""
        self.reason = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), name, value.rstrip(b" \t")))


def parse_request_head(raw: bytes) -> tuple[RequestHead, int | None]:
    """Parse a request head, its empty line included, to it and its Content-Length.

    Raises BadRequestError.
    """
    check_no_tls(raw)
    if _has_many_fields(raw):
        raise BadRequestError(f"The request has more than {MAX_FIELDS} header fields.", 431)
    sink = _Sink()
    parser = httptools.HttpRequestParser(sink)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # What is taken for an upgrade is decided below; CONNECT is refused.
    except httptools.HttpParserError as error:
        other = _OTHER_VERSION.match(raw)  # llhttp knows some of these by themselves
        if other is not None:
            raise _unsupported(other[1].decode()) from None
        raise BadRequestError(f"This is not a valid HTTP/1.1 request: {error}.") from None
    if not sink.url:
        raise BadRequestError("This is not a valid HTTP/1.1 request: there is no request line.")
    version = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        raise _unsupported(version)
    _check_lines(raw, sink, BadRequestError)
    method = parser.get_method()
    # llhttp also knows RTSP and ICE, whose versions look the same from here.
    line = b"%b %b HTTP/%b\r\n" % (method, sink.url, version.encode())
    if not raw.startswith(line, 2 if raw.startswith(b"\r\n") else 0):
        raise BadRequestError("This is not a valid HTTP/1.1 request line.")
    http10 = version == "1.0"
    known = KnownFields(sink.fields, BadRequestError)
    if len(known.hosts) > 1 or (not known.hosts and not http10):
        raise BadRequestError("The request must have exactly one Host header.")
    if known.chunked and http10:
        raise BadRequestError("An HTTP/1.0 request can't be chunked.")
    if known.expect not in (None, b"100-continue"):
        raise BadRequestError("This Expect header is not supported.", 417)
    target, asked_host = _origin_form(method, sink.url)
    # A host in the target counts, whatever Host says (RFC 9112 section 3.2.2).
    said_host = b"".join(known.hosts)
    host = asked_host or said_host
    if not _HOST.fullmatch(said_host) or (asked_host and not _HOST.fullmatch(asked_host)):
        raise BadRequestError("The Host header is not a host and perhaps a port.")
    last_hop = method == b"OPTIONS" and _count_hop(sink)
    nominated = known.nominated
    authorization = [field for field in sink.fields if field[0] in CREDENTIALS]
    bearer = _bearer(known.authorization)
    if bearer is None:
        bearer = known.x_api_key
    websocket = is_to_websocket(known) and method == b"GET" and not (http10 or known.framed)
    if websocket:
        sink.fields, with_key, key = take_key(sink.fields)
        bearer = bearer if authorization else key
        authorization += with_key
    via = b", ".join(known.vias).lower() if known.vias else b""
    head = RequestHead(
        method=method,
        target=target,
        path=target.partition(b"?")[0],
        fields=tuple([field for field in sink.fields if field[0] != b"content-length"]),
        names=frozenset([hyphened(key) for key, _, _ in sink.fields]) - CREDENTIALS,
        nominated=nominated,
        host=host,
        bearer=bearer,
        framed=known.framed,
        chunked=known.chunked,
        http10=http10,
        close=http10 or websocket or b"close" in nominated,
        expect_continue=known.expect is not None and not http10,
        kept=kept_lines(sink.fields, REQUEST_DROPPED | nominated if nominated else REQUEST_DROPPED),
        authorization=field_lines(authorization, nominated) if authorization else b"",
        request_id=request_id(sink.fields),
        boundary=None if method in _BODILESS or last_hop else form_boundary(known.content_types),
        in_fields=any(_FIELDS in value.lower() for value in known.content_types),
        websocket=websocket,
        via=via,
        via_llmhop=PREFIX in via,
        coded=_is_coded(sink.fields),
        last_hop=last_hop,
        origin=b", ".join(known.origins) if known.origins else None,
    )
    return head, known.content_length


def parse_response_head(raw: bytes) -> tuple[ResponseHead, int | None]:
    """Parse a response head, its empty line included, to it and its Content-Length.

    Raises BackendError.
    """
    check_begun(raw)
    if _has_many_fields(raw):
        raise BackendError(f"sent more than {MAX_FIELDS} header fields")
    sink = _Sink()
    parser = httptools.HttpResponseParser(sink)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # Whether that was asked for is known where the response is read.
    except httptools.HttpParserError as error:
        raise BackendError(f"sent no valid HTTP response: {error}") from None
    _check_lines(raw, sink, _bad_head)
    version = parser.get_http_version()
    status = parser.get_status_code()
    if version not in ("1.1", "1.0") or not 100 <= status <= 599:
        raise BackendError(f"sent HTTP/{version} with status {status}")
    known = KnownFields(sink.fields, _bad_head)
    if status == 101 and not is_to_websocket(known):
        raise BackendError("switched to another protocol than that of WebSockets")
    nominated = known.nominated
    dropped = RESPONSE_DROPPED | nominated if nominated else RESPONSE_DROPPED
    content_type = b"".join([value for key, _, value in sink.fields if key == b"content-type"])
    streams = content_type.startswith(b"text/event-stream")
    fields, unserved = take_proxy_status(without_cors(sink.fields))
    head = ResponseHead(
        status=status,
        framed=known.framed,
        chunked=known.chunked,
        close=version == "1.0" or b"close" in nominated,
        start=b"HTTP/1.1 %d %b\r\n" % (status, sink.reason)
        + field_lines(fields, dropped)
        + (TO_WEBSOCKET if status == 101 else b""),
        reports_usage=status == 200 and (streams or content_type.startswith(b"application/json")),
        streams=streams,
        dated=b"date" not in dropped and b"date" in [key for key, _, _ in fields],
        unserved=unserved if status >= 400 else b"",
    )
    return head, known.content_length


def _unsupported(version: str) -> BadRequestError:
    return BadRequestError(f"HTTP/{version} is not supported.", 505)


def check_no_tls(raw: bytes | bytearray) -> None:
    """Raise BadRequestError where a handshake of TLS begins in place of a request.

    Its client waits for an answer; its first byte begins no method (RFC 8446 section 5.1).
    """
    if raw.startswith(b"\x16"):
        raise BadRequestError(
            "This is TLS, and the port speaks HTTP in the clear: ask it by http://."
        )


def check_begun(raw: bytes | bytearray, scanned: int = 0) -> None:
    """Raise BackendError where no response head begins so; of `scanned` bytes that is known.

    Asked before its end is there: a server of another protocol may wait for an answer, and never
    send one.
    """
    # llhttp passes over line ends before a head, and knows RTSP and ICE too.
    if not _VERSION.startswith(raw[: len(_VERSION)]):
        raise BackendError("sent no HTTP response")
    fresh = raw[max(0, scanned - 1) :]
    ends = fresh.count(b"\n") - (scanned > 0 and fresh.startswith(b"\n"))
    returns = fresh.count(b"\r") - fresh.endswith(b"\r")
    if not ends == returns == fresh.count(b"\r\n"):
        raise _bad_head(_BARE_LINE_END)
    if len(fresh.translate(None, _CONTROL)) != len(fresh):
        raise _bad_head(_CONTROL_CHARACTER)


def _count_hop(sink: _Sink) -> bool:
    """Decrement Max-Forwards; whether it was 0, so that the request ends here (RFC 9110, 7.6.2).

    Raises BadRequestError.
    """
    places = [i for i, (key, _, _) in enumerate(sink.fields) if key == b"max-forwards"]
    if not places:
        return False
    key, name, value = sink.fields[places[0]]
    if len(places) > 1 or not _FORWARDS.fullmatch(value):
        raise BadRequestError("The Max-Forwards header is not one number.")
    left = int(value)
    sink.fields[places[0]] = (key, name, b"%d" % (left - 1))
    return left == 0


def _is_coded(fields: list[Field]) -> bool:
    """Whether a Content-Encoding names more than `identity`; underscores are hyphens to some."""
    return any(
        hyphened(name) == b"content-encoding" and value.lower() not in (b"", b"identity")
        for name, _, value in fields
    )


def _has_many_fields(raw: bytes) -> bool:
    """Whether there are more than MAX_FIELDS; asked before the head is parsed."""
    # Beside theirs there are the start line, the last one, and perhaps one before the head.
    return raw.count(b"\n") - raw.startswith(b"\r\n") > MAX_FIELDS + 2


def _bearer(authorization: bytes | None) -> bytes | None:
    """Return the token of the scheme Bearer (RFC 6750), or None."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(b" ")
    return token.strip(b" ") if scheme.lower() == b"bearer" else None


def _bad_head(sentence: str) -> BackendError:
    """What is wrong with a head, as what its backend did."""
    return BackendError(f"sent a bad head: {sentence[0].lower()}{sentence[1:].rstrip('.')}")


def _check_lines(raw: bytes, sink: _Sink, error: MakeError) -> None:
    # Independent of how lenient the installed llhttp is: lines end with CRLF, are not folded, and
    # hold no control characters.
    lines = raw.count(b"\r\n")
    if raw.count(b"\n") != lines or raw.count(b"\r") != lines:
        raise error(_BARE_LINE_END)
    if len(sink.fields) + 2 != lines - raw.startswith(b"\r\n"):
        raise error("A line of the head is not a header field.")
    if len(raw.translate(None, _CONTROL)) != len(raw):
        raise error(_CONTROL_CHARACTER)


def _origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target, and the host in it (RFC 9112 section 3.2)."""
    host = b""
    if method == b"CONNECT":
        raise BadRequestError("CONNECT is not supported.")
    if method == b"TRACE":
        # Its answer is the request, with what a browser or a proxy has added to it in secret.
        raise BadRequestError("TRACE is not supported.", 501)
    if not target.startswith(b"/"):
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise BadRequestError("The request target is not a path.")
        host, target = match["host"], match["rest"] or b"/"
        if target.startswith(b"?"):
            target = b"/" + target
    if b"#" in target:
        raise BadRequestError("The request target has a fragment.")
    if (b"." in target or b"%" in target) and _DOT_SEGMENT.search(target.partition(b"?")[0]):
        raise BadRequestError("The path has a '.' or '..' segment.")
    if b"//" in target:
        path, mark, query = target.partition(b"?")
        target = _SLASHES.sub(b"/", path) + mark + query
    return target, host
