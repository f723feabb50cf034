"""Which web pages may use llmhop, through the browsers of their visitors.

A browser tells in `Origin` whose page asks, and lets the page read an answer that allows its
origin (the Fetch standard, https://fetch.spec.whatwg.org/#http-cors-protocol). It also sends what
a page may never read, such as a POST of text or the handshake of a WebSocket; and a site whose name
leads to 127.0.0.1 all at once (DNS rebinding) is of one origin with llmhop to it. So where no token
keeps them out, pages are told apart by `Origin` and `Host`, as Ollama and Jupyter do. What images,
scripts and links ask for has no `Origin`; to loopback and over TLS browsers then say whether the
page is one of the same site (https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header).

All of it is pure: the config and a head in, a decision or lines of a head out.
"""

from __future__ import annotations

import re

from llmhop.config.config import Config
from llmhop.config.values import ANY
from llmhop.errors import host_not_allowed, origin_not_allowed, site_not_allowed
from llmhop.http.parsed_head import RequestHead
from llmhop.limits import MAX_ASKED_HEADERS_BYTES, PREFLIGHT_S
from llmhop.routing.target import READING, is_own

SITE = b"sec-fetch-site"
"""The field that tells what the page that asks has to do with the site that is asked."""

_ORIGIN = re.compile(rb"https?://([a-z0-9._-]++|\[[0-9a-f:.]++\])(?::[0-9]{1,5})?")
_IPV4 = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_FIELD_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z, \t-]++")
# 0.0.0.0 is this host, too, and what many a server prints as its address.
_LOOPBACK = (b"localhost", b"0.0.0.0", b"[::1]")

# No credentials are allowed, without which a * stands for every header field of a response.
_EXPOSED = b"Access-Control-Expose-Headers: *\r\n"
_ALLOWED_TO_ALL = b"Access-Control-Allow-Origin: *\r\n" + _EXPOSED
_VARY = b"Vary: Origin\r\n"
_ALLOWED = b"Access-Control-Allow-Origin: %b\r\n" + _EXPOSED + _VARY
_PREFLIGHT = (
    b"Access-Control-Allow-Methods: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n"
    b"Access-Control-Max-Age: %d\r\n" % PREFLIGHT_S
)


class OriginPolicy:
    """What a config allows web pages."""

    __slots__ = ("_any_host", "_any_origin", "_has_tokens", "_hosts", "_last_host", "_origins")

    def __init__(self, config: Config, machine: str) -> None:
        """`machine` is the name of this host."""
        origins = None if config.cors is None else config.cors.origins
        self._origins = None if origins is None else frozenset([o.encode() for o in origins])
        self._any_origin = origins is not None and ANY in origins
        hosts = [name for name in (*config.allowed_hosts, machine) if name]
        self._hosts = frozenset([_without_dot(name.lower().encode()) for name in hosts])
        self._has_tokens = config.has_tokens
        # Where every page may ask, a name that leads here gives none of them more.
        self._any_host = self._any_origin or ANY in hosts
        self._last_host = b""

    def admit(self, head: RequestHead, on_loopback: bool) -> None:
        """Raise ApiError (403) where the request may be that of a page that is not allowed.

        `on_loopback` says that it came in the clear to an address that only this host reaches.
        """
        if on_loopback and not self._has_tokens and head.host != self._last_host:
            if not self._is_own(head.host):
                raise host_not_allowed(head.host.decode())
            self._last_host = head.host  # of the heads that follow it is mostly the same
        if (
            head.origin is not None
            and (is_preflight(head) or not self._has_tokens)
            and not self._allows(head, head.origin)
        ):
            raise origin_not_allowed(head.origin.decode("latin-1"))
        if (
            head.origin is None
            and SITE in head.names
            and not (self._has_tokens or self._any_origin or self._allows_site(head))
        ):
            raise site_not_allowed()

    def response_lines(self, head: RequestHead) -> bytes:
        """Return the lines by which the answer to `head` allows its origin, or does not.

        What a browser may keep says for which origins it holds, also where no page asks: the next
        to ask may be one (https://fetch.spec.whatwg.org/#cors-protocol-and-http-caches).
        """
        origin = head.origin
        kept = head.method in READING
        if self._any_origin:
            return _ALLOWED_TO_ALL if kept or origin is not None else b""
        if origin is not None and self._allows(head, origin):
            return _ALLOWED % origin
        return _VARY if kept else b""

    def _allows(self, head: RequestHead, origin: bytes) -> bool:
        if self._any_origin:
            return True
        match = _ORIGIN.fullmatch(origin)
        if self._origins is not None:
            listed = origin in self._origins
        else:
            listed = match is not None and _is_loopback(match[1])
        if listed or match is None:
            return listed
        # A page of llmhop's own origin, if no other host can have that name.
        _, _, authority = origin.partition(b"://")
        return authority == head.host and self._is_own(head.host)

    def _allows_site(self, head: RequestHead) -> bool:
        site = _value(head, SITE)
        if site in (b"same-origin", b"none"):
            return True
        if site == b"same-site" and self._origins is None and _is_loopback(_name(head.host)):
            return True
        # What a link to it shows, no page reads, and no engine is asked.
        return _value(head, b"sec-fetch-mode") == b"navigate" and is_own(head.method, head.path)

    def _is_own(self, host: bytes) -> bool:
        """Whether a Host is an address or a name that nobody else can have lead to this host."""
        if self._any_host or host.startswith(b"["):
            return True
        name = _name(host)
        return (
            not name  # browsers always send one
            or name == b"localhost"
            or name.endswith(b".localhost")
            or name in self._hosts
            or _IPV4.fullmatch(name) is not None
        )


def is_preflight(head: RequestHead) -> bool:
    """Whether a browser asks by `head` if it may send a request, before it does."""
    return (
        head.origin is not None
        and head.method == b"OPTIONS"
        and not head.framed
        and b"access-control-request-method" in head.names
    )


def preflight_lines(head: RequestHead) -> bytes:
    """Return what an allowed origin is told beside that: which requests it may send.

    The header fields are those that it asks for, by name: a `*` would not mean Authorization.
    """
    lines = _PREFLIGHT
    names = _value(head, b"access-control-request-headers")
    if len(names) <= MAX_ASKED_HEADERS_BYTES and _FIELD_NAMES.fullmatch(names):
        lines += b"Access-Control-Allow-Headers: %b\r\n" % names
    if _value(head, b"access-control-request-private-network") == b"true":
        lines += b"Access-Control-Allow-Private-Network: true\r\n"
    return lines


def _name(host: bytes) -> bytes:
    """Return a Host without its port, an IPv6 address with its brackets."""
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    return _without_dot(host.partition(b":")[0].lower())


def _without_dot(name: bytes) -> bytes:
    """Return a name without the dot at its end that says that it is a whole one (RFC 1034)."""
    return name.removesuffix(b".")


def _value(head: RequestHead, key: bytes) -> bytes:
    return b", ".join([value for name, _, value in head.fields if name == key])


def _is_loopback(host: bytes) -> bool:
    return (
        host in _LOOPBACK
        or host.endswith(b".localhost")
        or (host.startswith(b"127.") and _IPV4.fullmatch(host) is not None)
    )
