"""A stop while a TLS handshake is under way."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from tests.router.support.certificates import Authority
from tests.router.support.endpoints import HEALTH, MODELS, TIMEOUT, wait_until
from tests.router.support.process import Run


class SlowHandshake:
    """A client that has said hello and then takes its time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self._send()
        self._receive()

    def _send(self) -> None:
        self.socket.sendall(self._outgoing.read())

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        assert data, "the router closed"
        self._incoming.write(data)

    def ask(self, raw: bytes) -> bytes:
        """End the handshake, send a request, and return what comes of the response first."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._receive()
        self.tls.write(raw)
        self._send()
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self._receive()


def is_refused(port: int) -> bool:
    """Whether nobody listens any more."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_within_its_handshake_at_a_stop_is_served(
    workers: int, run: Run, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    process = run({"models": MODELS, "workers": workers, **authority.config()})
    port = int(process.status.partition("https://127.0.0.1:")[2].split()[0])
    client = SlowHandshake(port)
    with client.socket:
        process.stop()
        wait_until(lambda: is_refused(port))
        answer = client.ask(HEALTH)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close\r\n" in answer
    assert process.process.wait(TIMEOUT) == 0
