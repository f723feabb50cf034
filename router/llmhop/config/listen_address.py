"""The addresses to listen on, as the config spells them."""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080

MAX_SOCKET_PATH_BYTES = 107
"""The longest path of a unix socket that Linux takes (unix(7), sun_path without its NUL)."""

_UNIX = "unix:"
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*\.?"
)
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[Xx][0-9A-Fa-f]*)\.?")
_LOCALHOST = {"localhost": ("127.0.0.1", "::1")}
# A connection to the wildcard address reaches loopback (Linux, ip(7)).
_REACHED = {**_LOCALHOST, "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # noqa: S104
_PORT = re.compile(r"[0-9]{1,5}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class TcpAddress(NamedTuple):
    """A host and a port. `host` None means every interface, over IPv4 and IPv6."""

    host: str | None
    port: int

    def __str__(self) -> str:
        if self.host is None:
            return f"*:{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class UnixAddress(NamedTuple):
    """The path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return _UNIX + self.path


Address = TcpAddress | UnixAddress


def overlap(one: TcpAddress, other: TcpAddress) -> bool:
    """Whether two addresses are one to the kernel, as far as that shows without a resolver.

    An address and every address of its family are, where the port is the same.
    """
    return one.port == other.port != 0 and any(
        family == other_family and (not host or not other_host or host == other_host)
        for family, host in _literals(one.host)
        for other_family, other_host in _literals(other.host)
    )


def is_bound_as(name: Address, address: Address) -> bool:
    """Whether a socket with this `name` is what a config's `address` asks for.

    As far as that shows without a resolver: of a host name only the port counts.
    """
    if isinstance(name, UnixAddress) or isinstance(address, UnixAddress):
        return name == address
    wanted = _literals(address.host)
    if address.port not in (0, name.port):
        return False
    return not wanted or any(literal in wanted for literal in _literals(name.host))


def leads_to(address: TcpAddress, host: str, port: int) -> bool:
    """Whether a connection to `host` and `port` reaches a listener on an address.

    As far as that shows without a resolver and without the addresses of this machine.
    """
    if address.port != port:
        return False
    own, there = _spelled_once(address.host or ""), _spelled_once(host)
    if own == there:
        return True
    return any(
        one == other or (one in ("", "::" if ":" in other else "0.0.0.0") and _is_loopback(other))  # noqa: S104
        for one in _LOCALHOST.get(own, (own,))
        for other in _REACHED.get(there, (there,))
    )


def _spelled_once(host: str) -> str:
    if _is_mapped(host):
        import ipaddress  # slow to import and rarely needed

        return str(ipaddress.IPv6Address(host).ipv4_mapped)
    return host.lower().removesuffix(".")


def _is_loopback(host: str) -> bool:
    return host == "::1" or (
        host.startswith("127.") and _ENDS_IN_NUMBER.fullmatch(host) is not None
    )


def _literals(host: str | None) -> list[tuple[int, str]]:
    """Return the families and addresses that are bound; every address of a family is empty."""
    if host is None:
        return [(4, ""), (6, "")]
    import ipaddress  # slow to import and rarely needed

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return []  # a name
    return [(address.version, "" if address.is_unspecified else str(address))]


def parse_listen(text: str) -> Address:
    """Parse "host:port", ":port", "[::1]:port" or "unix:/path".

    Raises ValueError saying what is wrong.
    """
    if text.startswith(_UNIX):
        return UnixAddress(check_socket_path(text.removeprefix(_UNIX)))
    if "/" in text:
        raise ValueError("has a '/', as a URL has")
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("has no port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError("has brackets around something that is not an IPv6 address")
    elif ":" in host:
        raise ValueError("has an IPv6 address without brackets")
    address = TcpAddress(check_host(host) if host else None, check_port(port))
    if _is_mapped(address.host):
        raise ValueError("has an IPv4 address written as an IPv6 one, which can't be bound")
    return address


def _is_mapped(host: str | None) -> bool:
    """Whether a host is such as ::ffff:127.0.0.1; sockets for IPv6 take that protocol alone."""
    if host is None or ":" not in host:
        return False
    import ipaddress  # slow to import and rarely needed

    return ipaddress.IPv6Address(host).ipv4_mapped is not None


def check_port(text: str) -> int:
    """Parse a port to listen on; 0 lets the kernel choose. Raises ValueError."""
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ValueError("has a port that is not a number from 0 to 65535")
    return int(text)


def check_host(host: str) -> str:
    """Return `host` if it is a host name or an IP address. Raises ValueError.

    What ends in a number is an IPv4 address (WHATWG URL, section 3.5), here one as inet_pton(3)
    and systemd take it: resolvers read 010.0.0.1 as 8.0.0.1, and look 192.168.1.300 up as a name.
    """
    if ":" in host:
        import ipaddress  # slow to import and rarely needed

        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("has a host that is not an IPv6 address") from None
        return str(address)
    if not _HOST_NAME.fullmatch(host):
        raise ValueError("has a host that is neither a host name nor an IP address")
    if _ENDS_IN_NUMBER.fullmatch(host):
        import ipaddress

        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError("has a host that is not an IPv4 address") from None
    return host


def check_socket_path(path: str) -> str:
    """Return `path` if a unix socket can have it. Raises ValueError."""
    if not path.startswith("/"):
        raise ValueError("has a socket path that is not absolute")
    if _CONTROL.search(path):
        raise ValueError("has a control character in its socket path")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise ValueError("has a socket path that is not Unicode text") from None
    if size > MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"has a socket path of more than {MAX_SOCKET_PATH_BYTES} bytes")
    return path
