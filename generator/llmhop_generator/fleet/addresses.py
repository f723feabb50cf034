"""Where the llmhop of a host is reached from other hosts."""

import re

from llmhop_generator.contract.listen import addresses
from llmhop_generator.fleet.hosts import Host

_LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}|\[::1\]|localhost")
_EVERY = frozenset({"", "0.0.0.0", "[::]"})  # noqa: S104 - names them, and listens nowhere


def base_urls(host: Host) -> list[str]:
    """Give the URLs at which others reach a host's llmhop, in the order of `listen`.

    Loopback addresses and unix sockets are left out. Where llmhop listens on every
    interface the host's name stands for it.
    """
    if not host.config.llmhop.enable:
        return []
    settings = host.settings
    scheme = "https" if settings.get("tls") else "http"
    urls = []
    for address in addresses(settings):
        interface, _, port = address.rpartition(":")
        if address.startswith("unix:") or _LOOPBACK.fullmatch(interface):
            continue
        urls.append(f"{scheme}://{host.address if interface in _EVERY else interface}:{port}")
    return list(dict.fromkeys(urls))
