"""The addresses on which llmhop listens, as its configuration spells them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080

_UNIX = "unix:"
_ADDRESS = re.compile(r"([0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9A-Fa-f:.]+\]|")


def addresses(settings: Mapping[str, Any]) -> list[str]:
    """Give the addresses that settings ask for, as `listen` spells them."""
    listen = settings.get("listen")
    if isinstance(listen, list):
        return [address for address in listen if isinstance(address, str)]
    if isinstance(listen, str):
        return [listen]
    host, port = settings.get("host"), settings.get("port")
    shown = host if isinstance(host, str) else DEFAULT_HOST
    if ":" in shown:
        shown = f"[{shown}]"
    is_number = isinstance(port, int) and not isinstance(port, bool)
    return [f"{shown}:{port if is_number else DEFAULT_PORT}"]


def ports(settings: Mapping[str, Any]) -> list[int]:
    """Give the ports that settings ask for; addresses without a valid one are passed over."""
    return [port for text in addresses(settings) if (port := _port_of(text)) is not None]


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
    host, colon, digits = text.rpartition(":")
    if not colon or not (digits.isascii() and digits.isdigit()) or len(digits) > 5:
        return None
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return None
    return int(digits) if int(digits) <= 65535 else None


def _stream(text: str) -> str | None:
    if text.startswith(f"{_UNIX}/"):
        return text.removeprefix(_UNIX)
    host, port = text.rpartition(":")[0], _port_of(text)
    if not port or not _ADDRESS.fullmatch(host):
        return None
    return f"{host}:{port}" if host else str(port)
