"""Certificates made for a test: for llmhop's listeners, in files, and for backends."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import trustme

from tests.router.support.endpoints import TIMEOUT, Wire


class Authority:
    """Certificates for 127.0.0.1 in files, to be renewed."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        self.renew()

    def renew(self) -> None:
        issued = self.ca.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(self.key)
        self.certificate.unlink(missing_ok=True)
        for pem in issued.cert_chain_pems:
            pem.write_to_path(self.certificate, append=True)

    def config(self) -> dict[str, Any]:
        return {"tls": {"certificate": str(self.certificate), "key": str(self.key)}}

    def wire(self, port: int, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Wire:
        """Connect, and check the certificate as clients do."""
        context = ssl.create_default_context()
        context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
        self.ca.configure_trust(context)
        plain = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        return Wire(context.wrap_socket(plain, server_hostname="127.0.0.1"))


def certified(authority: trustme.CA, host: str) -> ssl.SSLContext:
    """A server's settings, with a certificate for `host`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context
