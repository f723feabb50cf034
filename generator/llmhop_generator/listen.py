"""The address on which llmhop listens, as its configuration spells it."""

from collections.abc import Mapping
from typing import Any

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080


def port_of(settings: Mapping[str, Any]) -> int | None:
    """Give the port that settings ask for, or None where they name none that is valid."""
    listen = settings.get("listen")
    if isinstance(listen, str):
        host, colon, digits = listen.rpartition(":")
        if not colon or not (digits.isascii() and digits.isdigit()) or "]" in digits:
            return None
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            return None
        return int(digits) if int(digits) <= 65535 else None
    port = settings.get("port")
    return port if isinstance(port, int) and not isinstance(port, bool) else None


def listen_address(listen: str | None, host: str | None, port: int | None) -> str:
    """Spell the address as `listen` does, which every llmhop understands."""
    if listen is not None:
        return listen
    shown = DEFAULT_HOST if host is None else host
    if ":" in shown:
        shown = f"[{shown}]"
    return f"{shown}:{DEFAULT_PORT if port is None else port}"
