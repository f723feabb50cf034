"""A backend that a test plays itself, step by step, on raw bytes."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from tests.router.support.endpoints import TIMEOUT


class Peer:
    """A listening socket in a backend's place; a test accepts, reads and answers."""

    def __init__(self, receive_buffer: int = 0) -> None:
        self._listener = socket.socket()
        self._listener.settimeout(TIMEOUT)
        if receive_buffer:  # inherited by what is accepted; a small one fills soon
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._accepted: list[Link] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def accept(self) -> Link:
        connection, _ = self._listener.accept()
        connection.settimeout(TIMEOUT)
        self._accepted.append(Link(connection))
        return self._accepted[-1]

    def nobody_came(self) -> bool:
        """Whether no connection waits to be accepted."""
        self._listener.setblocking(False)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return True
        finally:
            self._listener.settimeout(TIMEOUT)
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for link in self._accepted:
            link.close()
        self._listener.close()


class Link:
    """A connection from the router."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.file = connection.makefile("rb")

    def head(self) -> bytes:
        """The head of a request, its empty line included."""
        lines = []
        while (line := self.file.readline()) != b"\r\n":
            assert line.endswith(b"\r\n"), line
            lines.append(line)
        return b"".join(lines) + b"\r\n"

    def read(self, count: int) -> bytes:
        data = self.file.read(count)
        assert len(data) == count
        return data

    def chunked_body(self) -> bytes:
        """The whole of a chunked body, which has no trailers and no extensions."""
        body = b""
        while size := int(self.file.readline().removesuffix(b"\r\n"), 16):
            body += self.read(size)
            assert self.read(2) == b"\r\n"
        assert self.read(2) == b"\r\n"
        return body

    def chunk(self) -> bytes:
        """The next chunk."""
        data = self.read(int(self.file.readline().removesuffix(b"\r\n"), 16))
        assert self.read(2) == b"\r\n"
        return data

    def answer(self, body: bytes = b"{}", status: bytes = b"200 OK", fields: bytes = b"") -> None:
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n" % (status, len(body), fields)
        self.send(head + body)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def at_end(self) -> bool:
        """Whether the router closed, with nothing more to read."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.file.close()
        self.socket.close()
