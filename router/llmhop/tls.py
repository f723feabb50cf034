"""The certificate of the listeners."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmhop.errors import ConfigError, Problem

if TYPE_CHECKING:
    import ssl

_ADVICE = "make it a PEM file that llmhop can read, or pass it with LoadCredential="


def server_context(certificate: str, key: str, environment: Mapping[str, str]) -> ssl.SSLContext:
    """Load a certificate and its key for serving HTTP/1.1 over TLS 1.2 and 1.3.

    A relative path starts at $CREDENTIALS_DIRECTORY, where systemd puts what `LoadCredential=`
    names, if that is set. Raises ConfigError.
    """
    import ssl  # 10 ms that only a TLS listener needs

    directory = environment.get("CREDENTIALS_DIRECTORY", "")
    certificate_path, key_path = Path(directory, certificate), Path(directory, key)
    paths = (("tls.certificate", certificate_path), ("tls.key", key_path))
    if problems := [p for where, path in paths if (p := _unreadable(where, path)) is not None]:
        raise ConfigError(problems)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    encrypted = False

    def password() -> str:
        # Without this, OpenSSL would ask on the terminal.
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        context.load_cert_chain(certificate_path, key_path, password)
    except ssl.SSLError as error:
        where, what = "tls", f"holds no usable certificate and key ({error.reason or 'not PEM'})"
        if encrypted:
            where, what = "tls.key", "is encrypted"
        elif error.reason == "KEY_VALUES_MISMATCH":
            where, what = "tls.key", "is not the key of tls.certificate"
        raise ConfigError([Problem(where, what, _ADVICE)]) from None
    return context


def _unreadable(where: str, path: Path) -> Problem | None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its path holds a NUL"
        shown = ascii(str(path))[1:-1]
        return Problem(where, f"can't be read ({reason}: {shown})", _ADVICE)
    return None
