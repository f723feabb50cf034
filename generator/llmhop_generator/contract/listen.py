"""The addresses on which llmhop listens, as its configuration spells them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmhop_generator.contract.json_types import whole
from llmhop_generator.layout import HOST

_LISTEN: Final[dict[str, Any]] = HOST["listen"]
DEFAULT_HOST: Final[str] = _LISTEN["host"]
DEFAULT_PORT: Final[int] = _LISTEN["port"]

_UNIX = "unix:"
_ADDRESS = re.compile(_LISTEN["address"], re.DOTALL)
_IP = re.compile(_LISTEN["ip"])
_TAKES_LOOPBACK = re.compile(_LISTEN["takes_loopback"])


def addresses(settings: Mapping[str, Any]) -> list[str]:
    """Give the addresses that settings ask for, as `listen` spells them."""
    listen = settings.get("listen")
    if isinstance(listen, list):
        return [address for address in listen if isinstance(address, str)]
    if isinstance(listen, str):
        return [listen]
    host, port = settings.get("host"), whole(settings.get("port"))
    shown = host if isinstance(host, str) else DEFAULT_HOST
    if ":" in shown:
        shown = f"[{shown}]"
    is_number = isinstance(port, int) and not isinstance(port, bool)
    return [f"{shown}:{port if is_number else DEFAULT_PORT}"]


def ports(settings: Mapping[str, Any]) -> list[int]:
    """Give the ports that settings ask for; addresses without a valid one are passed over."""
    return [port for text in addresses(settings) if (port := _port_of(text)) is not None]


def loopback_ports(settings: Mapping[str, Any]) -> list[int]:
    """Give those of the ports that llmhop may have on 127.0.0.1, where models are published."""
    return [
        port
        for text in addresses(settings)
        if (port := _port_of(text)) is not None
        and _TAKES_LOOPBACK.fullmatch(text.rpartition(":")[0])
    ]


def given_key(settings: Mapping[str, Any]) -> str:
    """The setting that names the addresses, for messages."""
    return "port" if settings.get("listen") is None else "listen"


def unix_path(text: str) -> str | None:
    """The path of an address that is a unix socket, else None."""
    return text.removeprefix(_UNIX) if text.startswith(f"{_UNIX}/") else None


def split(text: str) -> tuple[str, int]:
    """The host and the port of an address that is no unix socket."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def streams(texts: Sequence[str]) -> list[str] | None:
    """Give the addresses as ListenStream= takes them (systemd.socket(5)).

    None where one of them can't be systemd's to open, such as one with a host name: then llmhop
    opens its sockets itself.
    """
    found = [_stream(text) for text in texts]
    known = [stream for stream in found if stream is not None]
    return known if len(known) == len(found) else None


def _port_of(text: str) -> int | None:
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    host, port = found[1], int(found[2])
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return None
    return port if port <= 65535 else None


def _stream(text: str) -> str | None:
    if text.startswith(f"{_UNIX}/"):
        return text.removeprefix(_UNIX)
    host, port = text.rpartition(":")[0], _port_of(text)
    if not port or not _IP.fullmatch(host):
        return None
    return f"{host}:{port}" if host else str(port)
