"""The two kinds of addresses in a config: what to listen on, and where a backend is."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*\.?"
)
_PORT = re.compile(r"[0-9]{1,5}")
_PRINTABLE = re.compile(r"[!-~]*")


class Listen(NamedTuple):
    """What to bind. `host` None means every interface, over IPv4 and IPv6."""

    host: str | None
    port: int

    def __str__(self) -> str:
        if self.host is None:
            return f"*:{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Origin(NamedTuple):
    """What a connection to a backend needs; two models may share one."""

    tls: bool
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class BackendUrl(NamedTuple):
    """A backend's address in parts, as the requests to it need them."""

    origin: Origin
    authority: str
    path: str
    query: str

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


def parse_listen(text: str) -> Listen:
    """Parse "host:port", ":port" or "[::1]:port". Raises ValueError saying what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("has no port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError("has brackets around something that is not an IPv6 address")
    elif ":" in host:
        raise ValueError("has an IPv6 address without brackets")
    return Listen(check_host(host) if host else None, check_port(port))


def check_port(text: str) -> int:
    """Parse a port to listen on; 0 lets the kernel choose. Raises ValueError."""
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ValueError("has a port that is not a number from 0 to 65535")
    return int(text)


def check_host(host: str) -> str:
    """Return `host` if it is a host name or an IP address. Raises ValueError."""
    if ":" in host:
        import ipaddress  # slow to import and rarely needed

        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise ValueError("has a host that is not an IPv6 address") from None
    if not _HOST_NAME.fullmatch(host):
        raise ValueError("has a host that is neither a host name nor an IP address")
    return host


def parse_backend_url(text: str) -> BackendUrl:
    """Parse a backend's URL. Raises ValueError saying what is wrong, without quoting it."""
    if not _PRINTABLE.fullmatch(text):
        raise ValueError("has a space, a control character or one that is not ASCII")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("has a host or port that is not valid") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("does not start with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password, which are not sent")
    if not parts.hostname:
        raise ValueError("has no host")
    if "#" in text:
        raise ValueError("has a fragment ('#…'), which is not sent")
    if port == 0:
        raise ValueError("has port 0")
    tls = parts.scheme == "https"
    host = check_host(parts.hostname)
    if port is None:
        port = 443 if tls else 80
    return BackendUrl(Origin(tls, host, port), parts.netloc, parts.path, parts.query)
