"""Whether a listener can be reached from outside.

A TCP port on loopback is nothing to warn of, though every user of the host reaches it: it is the
default. A unix socket for every user is, as its mode was chosen.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

_WRITE = 0o002  # what connecting to a unix socket takes (unix(7))
_SEARCH = 0o001


def is_open_host(host: str) -> bool:
    """Whether an IP address, as a socket has it, is one that other hosts may reach.

    So is the unspecified address (every interface).
    """
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return not address.is_loopback


def is_open_file(mode: int, directories: Iterable[int]) -> bool:
    """Whether every user may connect to a unix socket, by its mode and those above it."""
    return bool(mode & _WRITE) and all(directory & _SEARCH for directory in directories)
