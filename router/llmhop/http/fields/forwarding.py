"""Which header fields of a message go on, and how they are written.

Fields that belong to one connection stop here in both directions (RFC 9110 section 7.6.1), and
so does the framing, which is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmhop.http.fields.known_fields import Field, Names

HOP_BY_HOP: Names = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")
)
CREDENTIALS: Names = frozenset((b"authorization", b"x-api-key"))
"""Fields in which clients send a token, those of OpenAI and those of Anthropic."""

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
    b"x-api-key",  # as authorization
    b"x-real-ip",
    b"x-request-id",  # written anew, see request_id
}
RESPONSE_DROPPED: Names = HOP_BY_HOP | {
    b"content-length",
    b"proxy-authenticate",
    b"x-request-id",  # the client gets that of its request
}

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
