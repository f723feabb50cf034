"""The handshake of a WebSocket as bytes, and one that is open."""

from __future__ import annotations

import socket

from tests.router.support.endpoints import RunningRouter, Wire, wait_until
from tests.router.support.peer import Peer

ASK = (
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: r\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
AGREE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def opened(router: RunningRouter, peer: Peer) -> tuple[Wire, socket.socket]:
    """A WebSocket whose handshake is done."""
    wire = Wire(router.port)
    wire.send(ASK)
    link = peer.accept()
    link.head()
    link.send(AGREE)
    assert wire.head()[0] == 101
    return wire, link.socket


def until_empty(router: RunningRouter) -> None:
    """Wait until no client is connected."""
    wait_until(lambda: not router.thread.call(lambda: bool(router.server.clients)))
