"""Transports without sockets, whose buffers are as small as a test wants, on a clock of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

HIGH, LOW = 64, 16
"""A protocol is paused above so many unsent bytes, and resumed at or below."""

READ_BYTES = 256 * 1024
"""What a protocol gets at once, and no more."""


class FakeTransport(asyncio.Transport):
    """One end of a connection, as the event loop gives it to a protocol; a test plays the peer.

    The peer takes `room` bytes by itself and more with each `peer_reads`. With `tls`, `close` waits
    for the peer.
    """

    def __init__(self, loop: FakeLoop, room: int, tls: bool = False) -> None:
        super().__init__()
        self.tls = tls
        self.loop = loop
        self.protocol: Any = None
        self.room = room
        self.unsent = bytearray()
        self.sent = bytearray()
        self.incoming = bytearray()
        self.reading = True
        self.eof = self.peer_closed = self.lost = False
        self._broken = self._in_kernel = False
        self._closing = self._write_paused = False
        self._socket, self._peer = socket.socketpair()  # for who asks the kernel
        self._socket.setblocking(False)

    def begin(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.connection_made(self)

    # What the protocol calls.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {
            "socket": self._socket,
            "peername": ("127.0.0.1", 1),
            "sslcontext": object() if self.tls else None,
        }
        return known.get(name, default)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def can_write_eof(self) -> bool:
        return not self.tls

    def write_eof(self) -> None:
        self.eof = True

    def write(self, data: Any) -> None:
        if self._closing:
            return
        if self._broken:
            self.peer_resets()
            return
        self.unsent += data
        self._flush()
        if len(self.unsent) > HIGH and not self._write_paused:
            self._write_paused = True
            self.protocol.pause_writing()

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._end()

    def abort(self) -> None:
        self._closing = True
        self.unsent.clear()
        self.loop.call_soon(self._lose, None)

    # What the peer does.

    def peer_reads(self, count: int) -> None:
        self.room += count
        self._flush()
        if self._write_paused and len(self.unsent) <= LOW:
            self._write_paused = False
            self.protocol.resume_writing()
        if self._closing:
            self._end()

    def kernel_holds(self, count: int) -> None:
        """Have so many bytes on their way to the peer."""
        if count:
            self._socket.send(bytes(count))
        else:
            self._peer.recv(1_000_000)

    def peer_sends(self, data: bytes) -> None:
        self.incoming += data
        self.deliver()

    def peer_closes(self) -> None:
        self.peer_closed = True
        self.deliver()

    def peer_resets(self) -> None:
        self._closing = True
        self.unsent.clear()
        self.loop.call_soon(self._lose, ConnectionResetError("reset by peer"))

    def peer_vanishes(self) -> None:
        """Be gone, as the next write finds out."""
        self._broken = True

    def peer_answers_and_breaks(self, data: bytes) -> None:
        """Send what waits in the kernel, and be gone, as the next write finds out.

        Where nothing is written before, the event loop reads it.
        """
        self._peer.send(data)
        self._broken = self._in_kernel = True

    def deliver(self) -> None:
        """Give the protocol what waits for it, as far as it reads."""
        if self._in_kernel and self.reading and not self._closing:
            self._in_kernel = False
            self.incoming += self._socket.recv(READ_BYTES)
            self.loop.call_soon(self.peer_resets)
        while self.incoming and self.reading and not self._closing:
            if isinstance(self.protocol, asyncio.BufferedProtocol):
                space = memoryview(self.protocol.get_buffer(len(self.incoming)))
                count = min(len(space), len(self.incoming))
                space[:count] = self.incoming[:count]
                del self.incoming[:count]
                self.protocol.buffer_updated(count)
            else:
                data = bytes(self.incoming[:READ_BYTES])
                del self.incoming[:READ_BYTES]
                self.protocol.data_received(data)
        if self.peer_closed and not self.incoming and self.reading and not self._closing:
            self.peer_closed = False
            if not self.protocol.eof_received():
                self.close()

    def _flush(self) -> None:
        count = min(self.room, len(self.unsent))
        self.sent += self.unsent[:count]
        del self.unsent[:count]
        self.room -= count

    def discard(self) -> None:
        """Close its sockets; nobody is told."""
        self._socket.close()
        self._peer.close()

    def _end(self) -> None:
        if not self.unsent and not self.tls:
            self.loop.call_soon(self._lose, None)

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(error)
            self.discard()


class FakeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock and whose connections are a test's to move.

    Backends send `greeting` as soon as they are connected to.
    """

    def __init__(self, backend_room: int) -> None:
        self.now = 1000.0
        super().__init__()
        self.connecting: list[asyncio.Future[None]] = []
        self.backends: list[FakeTransport] = []
        self.greeting = b""
        self._backend_room = backend_room

    def time(self) -> float:
        return self.now

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], Any], *_: Any, **__: Any
    ) -> Any:
        """Wait until a test accepts or refuses the connection."""
        asked: asyncio.Future[None] = self.create_future()
        self.connecting.append(asked)
        try:
            await asked
        finally:
            self.connecting.remove(asked)
        transport = FakeTransport(self, self._backend_room)
        protocol = factory()
        transport.begin(protocol)
        self.backends.append(transport)
        if self.greeting:
            self.call_soon(transport.peer_sends, self.greeting)
        return transport, protocol

    def settle(self) -> None:
        """Run what is due, and what follows from it."""

        async def turns() -> None:
            for _ in range(12):
                await asyncio.sleep(0)

        self.run_until_complete(turns())
