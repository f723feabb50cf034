"""Where a backend is: a URL with http, https or unix in front."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from llmhop.config.listen_address import check_host, check_socket_path
from llmhop.limits import CONNECT_TIMEOUT_S, UPSTREAM_IDLE_S

_PRINTABLE = re.compile(r"[!-~]*")
_UNIX = "unix:"
_REPEATED = re.compile(r"/(?:\.?/)+")  # names one directory, as a slash alone


class Origin(NamedTuple):
    """What the connections to a backend need; models that agree in all of it share them.

    `socket` is the path of a unix socket, in place of host and port. `address` is one of the
    host's, where those were looked up; TLS goes by the host all the same. Times are in seconds:
    `connect_timeout` for making a connection, `idle_timeout` for how long one is kept unused.
    """

    tls: bool
    host: str
    port: int
    socket: str | None = None
    connect_timeout: float = CONNECT_TIMEOUT_S
    idle_timeout: float = UPSTREAM_IDLE_S
    address: str | None = None

    def __str__(self) -> str:
        if self.socket is not None:
            return _UNIX + self.socket
        host = f"[{self.host}]" if ":" in self.host else self.host
        url = f"{'https' if self.tls else 'http'}://{host}:{self.port}"
        return url if self.address is None else f"{url}({self.address})"

    @property
    def is_name(self) -> bool:
        """Whether the host is a name whose addresses can be looked up."""
        return self.socket is None and not _is_address(self.host)


class BackendUrl(NamedTuple):
    """A backend's address in parts, as the requests to it need them."""

    origin: Origin
    authority: str
    path: str
    query: str

    @property
    def identity(self) -> object:
        """What is alike in all ways to write one URL, as far as that shows without asking."""
        origin = self.origin
        if origin.socket is not None:
            origin = origin._replace(socket=_REPEATED.sub("/", origin.socket))
        return origin._replace(host=origin.host.lower()), self.path or "/", self.query

    def with_timeouts(self, connect: float, idle: float) -> BackendUrl:
        """Return this URL with other timeouts of its connections, in seconds."""
        if (connect, idle) == (self.origin.connect_timeout, self.origin.idle_timeout):
            return self
        origin = self.origin._replace(connect_timeout=connect, idle_timeout=idle)
        return self._replace(origin=origin)

    def target(self, target: bytes) -> bytes:
        """Join a request target (path and query) to this URL.

        Follows Go's httputil.NewSingleHostReverseProxy, which upstream llmhop uses: exactly one
        slash between the two paths, this URL's query before the request's.
        """
        if not self.path and not self.query:
            return target
        path, mark, query = target.partition(b"?")
        prefix = self.path.encode()
        path = prefix + path[1:] if prefix.endswith(b"/") else prefix + path
        if not self.query:
            return path + mark + query
        return path + b"?" + self.query.encode() + (b"&" + query if query else b"")


def parse_backend_url(text: str) -> BackendUrl:
    """Parse a backend's URL. Raises ValueError saying what is wrong, without quoting it."""
    if not _PRINTABLE.fullmatch(text):
        raise ValueError("has a space, a control character or one that is not ASCII")
    if text.startswith(_UNIX):
        return _parse_unix(text.removeprefix(_UNIX))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("has a host or port that is not valid") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("does not start with http://, https:// or unix:/")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password, which are not sent")
    hostname = parts.hostname  # worked out each time it is asked for
    if not hostname:
        raise ValueError("has no host")
    _refuse_fragment(text)
    if port == 0:
        raise ValueError("has port 0")
    tls = parts.scheme == "https"
    host = check_host(hostname)
    if port is None:
        port = 443 if tls else 80
    return BackendUrl(Origin(tls, host, port), parts.netloc, parts.path, parts.query)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _parse_unix(text: str) -> BackendUrl:
    # As nginx writes it: the path in the file system ends at the colon before the URL's path.
    socket, colon, rest = text.partition(":/")
    _refuse_fragment(text)
    path, _, query = rest.partition("?")
    origin = Origin(False, "localhost", 0, check_socket_path(socket))
    return BackendUrl(origin, "localhost", "/" + path if colon else "", query)


def _refuse_fragment(text: str) -> None:
    if "#" in text:
        raise ValueError("has a fragment ('#…'), which is not sent")
