"""Fake clients of a router, and the requests that they send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.router.support.corpus.form_requests import END, FORM
from tests.router.support.corpus.forms import FILE, MODEL, part
from tests.router.support.fakes.network import FakeLoop, FakeTransport
from tests.router.support.fakes.router import responses

TOKEN, TEAM_TOKEN = "token", "team-token"


def request(kind: str, size: int, number: int, model: str) -> bytes:
    """A request of about `size` bytes, every third one with the token of a team."""
    token = TOKEN if number % 3 else TEAM_TOKEN
    lines = [f"POST /n/{number} HTTP/1.1", "Host: r", f"Authorization: Bearer {token}"]
    if kind == "health":
        return f"GET /health?n={number} HTTP/1.1\r\nHost: r\r\n\r\n".encode()
    if "form" in kind:
        lines.append(FORM)
        field_ = part(MODEL, model.encode())
        body = b"--XbX\r\n" + FILE + b"\r\n\r\n" + b"x" * size + b"\r\n" + field_ + END
        if number % 2:
            body = field_ + b"--XbX\r\n" + FILE + b"\r\n\r\n" + b"x" * size + b"\r\n" + END
    else:
        name = "nobody" if kind == "unknown" else model
        body = b'{"model":"%b","x":"%b"}' % (name.encode(), b"x" * size)
    if "chunk" in kind:
        lines.append("Transfer-Encoding: chunked")
        half = len(body) // 2
        body = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            *(half, body[:half]),
            *(len(body) - half, body[half:]),
        )
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class ClientTransport(FakeTransport):
    """Remembers all that it took, also what is thrown away unsent."""

    def __init__(self, loop: FakeLoop, room: int) -> None:
        super().__init__(loop, room)
        self.written = bytearray()

    def write(self, data: Any) -> None:
        super().write(data)
        if not self._closing:
            self.written += data


@dataclass
class Client:
    """A client, the numbers of its requests, what it has yet to send, how many it sent whole."""

    transport: ClientTransport
    numbers: list[int] = field(default_factory=list)
    unsent: bytes = b""
    complete: int = 0
    judged: int = 0
    gone: bool = False

    @property
    def open(self) -> bool:
        return not (self.gone or self.transport.lost or self.transport.is_closing())

    @property
    def connection(self) -> Any:
        protocol = self.transport.protocol
        return getattr(protocol, "client", protocol)

    def answers(self) -> list[tuple[int, bytes]]:
        """The responses that were written whole, read or not."""
        return responses(bytes(self.transport.written))
