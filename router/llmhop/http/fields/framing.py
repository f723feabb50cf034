"""Header fields: what those that decide about a message say, and which ones go on.

Fields that belong to one connection stop here in both directions (RFC 9110 section 7.6.1), and
so does the framing, which is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from llmhop.limits import MAX_FIELDS

Field = tuple[bytes, bytes, bytes]
"""A header field: name in lower case, name as sent, value without white space around it."""

Names = frozenset[bytes]

HOP_BY_HOP: Names = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")
)
REQUEST_DROPPED: Names = HOP_BY_HOP | {
    b"authorization",  # goes on apart, where llmhop asks for none itself
    b"content-length",
    b"expect",  # answered here, because the body is read here
    b"forwarded",
    b"host",
    b"origin",  # judged here (see routing.origin_policy), for all that stands behind
    b"proxy-authorization",
    b"sec-fetch-site",  # as origin, without which it would tell against an allowed page
    b"trailer",
    b"x-real-ip",
    b"x-request-id",  # written anew, see request_id
}
RESPONSE_DROPPED: Names = HOP_BY_HOP | {
    b"content-length",
    b"proxy-authenticate",
    b"x-request-id",  # the client gets that of its request
}

MakeError = Callable[[str], Exception]

_EXAMINED = frozenset(
    (
        b"authorization",
        b"connection",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"origin",
        b"transfer-encoding",
        b"upgrade",
        b"via",
    )
)
_KEPT: Names = frozenset((b"via",))
_NONE: Names = frozenset()
_LENGTH = re.compile(rb"[0-9]{1,18}")
_REQUEST_ID = re.compile(rb"[!-~](?:[ -~]{0,126}[!-~])?")


def request_id(fields: Iterable[Field]) -> bytes | None:
    """Return the X-Request-Id, where there is one of up to 128 printable ASCII characters."""
    found = [value for name, _, value in fields if name == b"x-request-id"]
    if len(found) == 1 and _REQUEST_ID.fullmatch(found[0]):
        return found[0]
    return None


def field_lines(fields: Iterable[Field], dropped: Names) -> bytes:
    """Write the fields that are not in `dropped`, a line each, as they were sent."""
    return b"".join(
        [b"%b: %b\r\n" % (name, value) for key, name, value in fields if key not in dropped]
    )


def without_cors(fields: Iterable[Field]) -> list[Field]:
    """Return a response's fields without what a backend says of origins."""
    return [field for field in fields if not _is_of_origins(field)]


def _is_of_origins(field: Field) -> bool:
    key, _, value = field
    return key.startswith(b"access-control-") or (key == b"vary" and value.lower() == b"origin")


def kept_lines(fields: Iterable[Field], dropped: Names) -> bytes:
    """Write the fields of a request that go on: not `dropped`, and no X-Forwarded-* at all.

    What a client claims about where it comes from is replaced by what is known. Gateways of the
    CGI kind (WSGI is one) read X_Forwarded_For as X-Forwarded-For, so an underscore counts as a
    hyphen here.
    """
    kept = [field for field in fields if not field[0].startswith(b"x-forwarded")]
    if b"_" in b"".join([key for key, _, _ in kept]):
        hyphens = [(hyphened(field[0]), field) for field in kept]
        kept = [
            field
            for key, field in hyphens
            if key not in dropped and not key.startswith(b"x-forwarded")
        ]
    return field_lines(kept, dropped)


def hyphened(key: bytes) -> bytes:
    """Return a field's key as a backend may read it that can't tell underscores from hyphens."""
    return key.replace(b"_", b"-")


class Examined:
    """What fields say about their message: where it ends, and what goes no further."""

    __slots__ = (
        "authorization",
        "chunked",
        "content_length",
        "content_types",
        "expect",
        "hosts",
        "nominated",
        "origins",
        "upgrades",
        "vias",
    )

    def __init__(self, fields: Iterable[Field], error: MakeError) -> None:
        self.authorization: bytes | None = None
        self.chunked = False
        self.content_length: int | None = None
        self.content_types: list[bytes] = []
        self.expect: bytes | None = None
        self.hosts: list[bytes] = []
        self.origins: list[bytes] = []
        self.upgrades: list[bytes] = []
        self.vias: list[bytes] = []
        options: list[bytes] = []
        for name, _, value in fields:
            if name not in _EXAMINED:
                continue
            if name == b"host":
                self.hosts.append(value)
            elif name == b"content-type":
                self.content_types.append(value)
            elif name == b"content-length":
                self.content_length = self._length(value, error)
            elif name == b"transfer-encoding":
                if self.chunked or value.lower() != b"chunked":
                    raise error("The Transfer-Encoding is not plain 'chunked'.")
                self.chunked = True
            elif name == b"connection":
                if len(options) + value.count(b",") >= MAX_FIELDS:
                    raise error(f"The Connection header names more than {MAX_FIELDS} options.")
                options += [option.strip(b" \t") for option in value.lower().split(b",")]
            elif name == b"expect":
                self.expect = value.lower() if self.expect is None else b"twice"
            elif name == b"upgrade":
                self.upgrades.append(value.lower())
            elif name == b"origin":
                self.origins.append(value)
            elif name == b"via":
                self.vias.append(value)
            else:
                # Two Authorization fields are no valid one.
                self.authorization = value if self.authorization is None else b""
        # Via stays, whatever Connection says, or a loop would go unnoticed.
        self.nominated: Names = frozenset(options) - _KEPT if options else _NONE
        if self.chunked and self.content_length is not None:
            raise error("There are both Content-Length and Transfer-Encoding.")

    @property
    def framed(self) -> bool:
        """Whether a body is announced, by its length or as chunks."""
        return self.chunked or self.content_length is not None

    def _length(self, value: bytes, error: MakeError) -> int:
        if self.content_length is not None or not _LENGTH.fullmatch(value):
            raise error("The Content-Length is not one number.")
        return int(value)


def examine(fields: Iterable[Field], error: MakeError) -> Examined:
    """Read the fields that decide about a message.

    Raises `error` where they leave doubt about its length, even if llhttp had let them pass.
    """
    return Examined(fields, error)
