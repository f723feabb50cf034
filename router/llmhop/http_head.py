"""Heads of HTTP/1 messages: parsed by httptools (llhttp), then checked for what it lets pass.

Nothing here does I/O. A head is parsed with a parser of its own, from exactly the bytes up to its
empty line, so that a parser never carries state from one message to the next. Where a message
ends is decided here and in `chunked`, once, for both directions (RFC 9112 section 6.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httptools

from llmhop.errors import BackendError, BadRequestError

Field = tuple[bytes, bytes, bytes]
"""A header field: name in lower case, name as sent, value without white space around it."""

_EXAMINED = frozenset(
    (b"authorization", b"connection", b"content-length", b"expect", b"host", b"transfer-encoding")
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CONTROL = bytes(set(range(0x20)) - set(b"\t\r\n")) + b"\x7f"
_ABSOLUTE = re.compile(rb"https?://[^/?#@]+(?P<rest>[/?].*)?", re.IGNORECASE | re.DOTALL)
# A dot segment would let a client leave the path prefix of a backend's URL.
_DOT_SEGMENT = re.compile(rb"(?:/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:/|\\|%2f|%5c|;|\Z)", re.IGNORECASE)


@dataclass(slots=True)
class RequestHead:
    """A request's head. `target` is in origin form; `path` is `target` without its query."""

    method: bytes
    target: bytes
    path: bytes
    fields: list[Field]
    nominated: frozenset[bytes]
    host: bytes
    authorization: bytes | None
    content_length: int | None
    chunked: bool
    http10: bool
    close: bool
    expect_continue: bool

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow this head."""
        return self.chunked or bool(self.content_length)


@dataclass(slots=True)
class ResponseHead:
    """A response's head. With neither length nor chunks, its body ends with the connection."""

    status: int
    reason: bytes
    fields: list[Field]
    nominated: frozenset[bytes]
    content_length: int | None
    chunked: bool
    close: bool


class _Sink:
    """What httptools calls back while it parses."""

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


def parse_request_head(raw: bytes) -> RequestHead:
    """Parse a request head, its empty line included. Raises BadRequestError."""
    sink = _Sink()
    parser = httptools.HttpRequestParser(sink)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # An upgrade may be ignored (RFC 9110 section 7.8); CONNECT is refused below.
    except httptools.HttpParserError as error:
        raise BadRequestError(f"This is not a valid HTTP/1.1 request: {error}.") from None
    if not sink.url:
        raise BadRequestError("This is not a valid HTTP/1.1 request: there is no request line.")
    version = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        raise BadRequestError(f"HTTP/{version} is not supported.", 505)
    _check_lines(raw, sink, BadRequestError)
    http10 = version == "1.0"
    examined = examine(sink.fields, BadRequestError)
    if len(examined.hosts) > 1 or (not examined.hosts and not http10):
        raise BadRequestError("The request must have exactly one Host header.")
    if examined.chunked and http10:
        raise BadRequestError("An HTTP/1.0 request can't be chunked.")
    if examined.expect not in (None, b"100-continue"):
        raise BadRequestError("This Expect header is not supported.", 417)
    method = parser.get_method()
    target = _origin_form(method, sink.url)
    return RequestHead(
        method=method,
        target=target,
        path=target.partition(b"?")[0],
        fields=sink.fields,
        nominated=examined.nominated,
        host=examined.hosts[0] if examined.hosts else b"",
        authorization=examined.authorization,
        content_length=examined.content_length,
        chunked=examined.chunked,
        http10=http10,
        close=http10 or b"close" in examined.nominated,
        expect_continue=examined.expect is not None and not http10,
    )


def parse_response_head(raw: bytes) -> ResponseHead:
    """Parse a response head, its empty line included. Raises BackendError."""
    sink = _Sink()
    parser = httptools.HttpResponseParser(sink)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        raise BackendError("switched protocols without being asked") from None
    except httptools.HttpParserError as error:
        raise BackendError(f"sent no valid HTTP response: {error}") from None
    _check_lines(raw, sink, BackendError)
    version = parser.get_http_version()
    status = parser.get_status_code()
    if version not in ("1.1", "1.0") or not 100 <= status <= 599 or status == 101:
        raise BackendError(f"sent HTTP/{version} with status {status}")
    examined = examine(sink.fields, BackendError)
    return ResponseHead(
        status=status,
        reason=sink.reason,
        fields=sink.fields,
        nominated=examined.nominated,
        content_length=examined.content_length,
        chunked=examined.chunked,
        close=version == "1.0" or b"close" in examined.nominated,
    )


_Error = type[BadRequestError] | type[BackendError]


def _check_lines(raw: bytes, sink: _Sink, error: _Error) -> None:
    # Independent of how lenient the installed llhttp is: lines end with CRLF, are not folded, and
    # hold no control characters.
    lines = raw.count(b"\r\n")
    if raw.count(b"\n") != lines or raw.count(b"\r") != lines:
        raise error("A line of the head does not end with CRLF.")
    if len(sink.fields) + 2 != lines - raw.startswith(b"\r\n"):
        raise error("A line of the head is not a header field.")
    if len(raw.translate(None, _CONTROL)) != len(raw):
        raise error("The head holds a control character.")


class Examined:
    """What fields say about their message: where it ends, and what goes no further."""

    __slots__ = (
        "authorization",
        "chunked",
        "content_length",
        "expect",
        "hosts",
        "nominated",
    )

    def __init__(self, fields: list[Field], error: _Error) -> None:
        self.authorization: bytes | None = None
        self.chunked = False
        self.content_length: int | None = None
        self.expect: bytes | None = None
        self.hosts: list[bytes] = []
        self.nominated: frozenset[bytes] = frozenset()
        for name, _, value in fields:
            if name not in _EXAMINED:
                continue
            if name == b"host":
                self.hosts.append(value)
            elif name == b"content-length":
                self._length(value, error)
            elif name == b"transfer-encoding":
                if self.chunked or value.lower() != b"chunked":
                    raise error("The Transfer-Encoding is not plain 'chunked'.")
                self.chunked = True
            elif name == b"connection":
                tokens = [token.strip(b" \t").lower() for token in value.split(b",")]
                self.nominated = self.nominated.union(tokens)
            elif name == b"expect":
                self.expect = value.lower() if self.expect is None else b"twice"
            else:
                # Two Authorization fields are no valid one.
                self.authorization = value if self.authorization is None else b""
        if self.chunked and self.content_length is not None:
            raise error("There are both Content-Length and Transfer-Encoding.")

    def _length(self, value: bytes, error: _Error) -> None:
        if self.content_length is not None or not _LENGTH.fullmatch(value):
            raise error("The Content-Length is not one number.")
        self.content_length = int(value)


def examine(fields: list[Field], error: _Error) -> Examined:
    """Read the fields that decide about a message.

    Raises `error` where they leave doubt about its length, even if llhttp had let them pass.
    """
    return Examined(fields, error)


def _origin_form(method: bytes, target: bytes) -> bytes:
    """Return path and query of a request target (RFC 9112 section 3.2)."""
    if method == b"CONNECT":
        raise BadRequestError("CONNECT is not supported.")
    if not target.startswith(b"/"):
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise BadRequestError("The request target is not a path.")
        target = match["rest"] or b"/"
        if target.startswith(b"?"):
            target = b"/" + target
    if b"#" in target:
        raise BadRequestError("The request target has a fragment.")
    if (b"." in target or b"%" in target) and _DOT_SEGMENT.search(target.partition(b"?")[0]):
        raise BadRequestError("The path has a '.' or '..' segment.")
    return target
