"""Messages between a worker and its supervisor, over a socket that keeps each in one packet.

Nothing here blocks: what the kernel has no room for waits in order until it has.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from llmhop.log.faults import log_fault

_MAX_PACKET_BYTES = 64 * 1024

# For want of room or memory, which there may be later.
_PASSING = frozenset((errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM))

In = TypeVar("In")
Out = TypeVar("Out")


class Channel(Generic[In, Out]):
    """One end of a SOCK_SEQPACKET connection."""

    def __init__(
        self, sock: socket.socket, incoming: object, want_write: Callable[[bool], None]
    ) -> None:
        """`incoming` is the type of what comes.

        `want_write` asks that `flush` be called whenever the socket can be written, or no more.
        """
        sock.setblocking(False)
        self.socket = sock
        self._decoder: msgspec.msgpack.Decoder[In] = msgspec.msgpack.Decoder(incoming)
        self._want_write = want_write
        self._unsent: deque[bytes] = deque()
        self._broken = False

    @property
    def unsent(self) -> int:
        """How many messages wait for room in the socket."""
        return len(self._unsent)

    def send(self, message: Out) -> None:
        """Send a message, now or when there is room; to a peer that is gone, never.

        One that can't be sent at all is a fault of llmhop's own: it ends the connection.
        """
        if self._broken:
            return
        packet = msgspec.msgpack.encode(message)
        if self._unsent:
            self._unsent.append(packet)
        elif not self._put(packet) and not self._broken:
            self._unsent.append(packet)
            self._want_write(True)

    def flush(self) -> None:
        """Send what waits, as far as there is room."""
        while self._unsent and self._put(self._unsent[0]):
            self._unsent.popleft()
        if not self._unsent:
            self._want_write(False)

    def receive(self) -> In | None:
        """Return a message, if one has come. Raises EOFError when the other end is gone."""
        try:
            packet = self.socket.recv(_MAX_PACKET_BYTES)
        except BlockingIOError:
            return None
        except ConnectionError:
            packet = b""
        if not packet:
            raise EOFError
        return self._decoder.decode(packet)

    def _put(self, packet: bytes) -> bool:
        try:
            self.socket.send(packet)
        except OSError as error:
            if error.errno not in _PASSING:
                self._break(error)
            return False
        return True

    def _break(self, error: OSError) -> None:
        self._broken = True
        self._unsent.clear()
        if not isinstance(error, ConnectionError):
            log_fault("sending to another process of llmhop", error)
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)  # so that both ends hear of it
