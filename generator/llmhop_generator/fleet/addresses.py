"""Where the llmhop of a host is reached from other hosts."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from llmhop_generator.contract.listen import addresses
from llmhop_generator.fleet.hosts import Host


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
        if address.startswith("unix:"):
            continue
        interface, _, port = address.rpartition(":")
        ip = _ip(interface)
        if interface == "localhost" or (ip is not None and ip.is_loopback):
            continue
        is_every = interface == "" or (ip is not None and ip.is_unspecified)
        urls.append(f"{scheme}://{host.address if is_every else interface}:{port}")
    return list(dict.fromkeys(urls))


def _ip(interface: str) -> IPv4Address | IPv6Address | None:
    """An address, however it is written, or None for a name."""
    try:
        return ip_address(interface.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
