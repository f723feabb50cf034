"""The certificate of the listeners."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from llmhop.config.config import Certificate
from llmhop.config.findings import ConfigError, Finding
from llmhop.config.regular_file import read_regular

if TYPE_CHECKING:
    import ssl

_ADVICE = "make it a PEM file that llmhop can read, or pass it with LoadCredential="
_MAX_FILE_BYTES = 1024 * 1024


def load_certificate(
    certificate: str | None, key: str | None, environment: Mapping[str, str]
) -> Certificate | None:
    """Read a certificate and its key, each once, and check that they can serve.

    A relative path starts at $CREDENTIALS_DIRECTORY, where systemd puts what `LoadCredential=`
    names, if that is set. Where a path is None, for which there was none that could be used, only
    the other one is read, and None returned. Raises ConfigError.
    """
    directory = environment.get("CREDENTIALS_DIRECTORY", "")
    findings: list[Finding] = []
    read = [
        None if path is None else _read(where, Path(directory, path), findings)
        for where, path in (("tls.certificate", certificate), ("tls.key", key))
    ]
    if findings:
        raise ConfigError(findings)
    chain, secret = read
    if chain is None or secret is None:
        return None
    found = Certificate(chain, secret)
    try:
        server_context(found)
    except OSError as error:  # no descriptors or no memory are left
        what = f"can't be loaded ({error.strerror})"
        raise ConfigError([_finding("tls", what, "try it again")]) from None
    return found


def check_authorities(environment: Mapping[str, str]) -> None:
    """See that https backends can be known by what SSL_CERT_FILE names, where it is set.

    OpenSSL passes over a file that it can't read, and then knows nobody. Raises ConfigError.
    """
    path = environment.get("SSL_CERT_FILE")
    if not path:
        return
    import ssl  # 10 ms that only https needs

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        reason = "not PEM" if isinstance(error, ssl.SSLError) else error.strerror
        what = f"names no certificates of authorities ({reason})"
        todo = "name a PEM file that llmhop can read, or leave it unset for the system's"
        raise ConfigError([Finding("SSL_CERT_FILE", what, todo)]) from None


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """Return a context for serving HTTP/1.1 over TLS 1.2 and 1.3.

    Raises ConfigError for a certificate that `load_certificate` did not check, and OSError.
    """
    import ssl  # 10 ms that only a TLS listener needs

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    encrypted = False

    def password() -> str:
        # Without this, OpenSSL would ask on the terminal.
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        with ExitStack() as files:
            chain = files.enter_context(_memory_file(certificate.chain))
            key = files.enter_context(_memory_file(certificate.key))
            context.load_cert_chain(chain, key, password)
    except ssl.SSLError as error:
        where, todo = "tls", _ADVICE
        what = f"holds no usable certificate and key ({error.reason or 'not PEM'})"
        if encrypted:
            where, what = "tls.key", "is encrypted"
        elif error.reason == "KEY_VALUES_MISMATCH":
            where, what = "tls.key", "is not the key of tls.certificate"
            todo = "give the key that the certificate was made for, which stands first in its file"
        raise ConfigError([_finding(where, what, todo)]) from None
    return context


@contextmanager
def _memory_file(data: bytes) -> Iterator[str]:
    """Give a path at which `data` can be read, in memory: Python's ssl takes files alone."""
    descriptor = os.memfd_create("llmhop", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _read(where: str, path: Path, findings: list[Finding]) -> bytes:
    try:
        data = read_regular(path, _MAX_FILE_BYTES)
    except OSError as error:
        shown = ascii(str(path))[1:-1]
        findings.append(_finding(where, f"can't be read ({error.strerror}: {shown})"))
        return b""
    if len(data) > _MAX_FILE_BYTES:
        findings.append(_finding(where, f"is larger than {_MAX_FILE_BYTES} bytes"))
    return data


def _finding(where: str, what: str, todo: str = _ADVICE) -> Finding:
    return Finding(where, what, todo, tuple(where.split(".")))
