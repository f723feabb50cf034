"""How a client's connection is read, written to, and ended. Knows nothing of requests.

Its states, and what may follow each:

| state | what goes on | then |
| --- | --- | --- |
| OPEN | requests and responses are exchanged | any |
| HALF_CLOSED | a WebSocket, whose client sends no more and still reads | CLOSING, LINGERING |
| CLOSING | what was written is sent, nothing is read; then it is closed | |
| LINGERING | the last response was written; input is discarded until the client closes | |
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import struct
import sys
import termios
from collections.abc import Callable
from typing import Final, cast

from llmhop.client.body_intake import BodyIntake, Client
from llmhop.client.work_queue import WorkQueue
from llmhop.http.body.large_body import LargeBody

# Plain numbers, because an Enum's members cost more to look up.
OPEN: Final = 0
HALF_CLOSED: Final = 1
CLOSING: Final = 2
LINGERING: Final = 3

# For SO_LINGER: closing sends a reset, or what closing usually does.
_RESETS: Final = struct.pack("ii", 1, 0)
_CLOSES: Final = struct.pack("ii", 0, 0)


class ClientSocket:
    """The socket of a client: its transport, once there is one (`connected`), and its state.

    `write` sends bytes to the client. `paused` is set while reading is paused for flow control,
    `write_paused` while the client reads slower than it is written to; `deferred_since` is the loop
    time since which reading waits for another pass of the event loop. `half_close_ends` says
    whether a client that closes its half counts as gone.
    """

    __slots__ = (
        "_all_sent",
        "_reset_armed",
        "deferred_since",
        "half_close_ends",
        "is_tls",
        "paused",
        "state",
        "transport",
        "write",
        "write_paused",
    )

    transport: asyncio.Transport
    write: Callable[[bytes], None]

    def __init__(self) -> None:
        self.state = OPEN
        self.is_tls = False
        self.paused = self.write_paused = False
        self.deferred_since: float | None = None
        self.half_close_ends = True
        self._reset_armed = False
        self._all_sent = False

    def connected(self, transport: asyncio.Transport) -> None:
        """Begin to use `transport`."""
        self.transport = transport
        self.is_tls = transport.get_extra_info("sslcontext") is not None
        self.write = self._write_tls if self.is_tls else transport.write

    # Reading.

    def pause_reading(self) -> None:
        """Read no more than has come, for now."""
        self.paused = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on after `pause_reading`."""
        self.paused = False
        self.read_on()

    def yield_reading(self) -> None:
        """Pause reading until the next `read_on`."""
        self.transport.pause_reading()

    def read_on(self) -> None:
        """Read, unless something else is waited for before."""
        if not self.paused and self.deferred_since is None and not self.transport.is_closing():
            self.transport.resume_reading()

    def defer_reading(self, now: float) -> None:
        """Read no more until `resume_deferred`."""
        if self.deferred_since is None:
            self.deferred_since = now
        self.transport.pause_reading()

    def resume_deferred(self, now: float) -> float:
        """Read on after `defer_reading`. Returns for how many seconds that paused."""
        asked_at, self.deferred_since = self.deferred_since, None
        self.read_on()
        return 0.0 if asked_at is None else now - asked_at

    def begin_intake(self, body: LargeBody, work: WorkQueue) -> None:
        """Read into a large body from now on."""
        protocol = self.transport.get_protocol()
        # One that stands in already may hold what is not read yet.
        if not isinstance(protocol, BodyIntake):
            self.transport.set_protocol(BodyIntake(cast(Client, protocol), body, work))

    def end_intake(self) -> None:
        """Read by the connection's own protocol again."""
        protocol = self.transport.get_protocol()
        if isinstance(protocol, BodyIntake):
            self.transport.set_protocol(cast(asyncio.Protocol, protocol.client))

    # Writing.

    def _write_tls(self, data: bytes) -> None:
        """Write, unless the client has left.

        Over TLS, transports drop that before `is_closing` tells of it (sslproto of asyncio and
        uvloop): once the TCP connection broke, or its end came while nothing was read.
        """
        if self.has_left():
            self.transport.abort()
        else:
            self.transport.write(data)

    def takes_writes(self) -> bool:
        """Whether what was just written is on its way to the client.

        A transport that is about to be lost drops it in silence. That end of a request is for
        `connection_lost` to note.
        """
        return not self.transport.is_closing()

    def unsent_bytes(self) -> int:
        """How much of what was written the client has not taken, here and in the kernel.

        The kernel takes more only when a third of its buffer is free, which may be a megabyte;
        how much of it is on its way tells of a client that reads in smaller steps.
        """
        queued = fcntl.ioctl(
            self.transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4)
        )  # tcp(7), SIOCOUTQ; unix(7) has it too
        return self.transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)

    # How it ends.

    def has_left(self) -> bool:
        """Whether the client has left, as the kernel knows it.

        That it closed its half is found by reading; while nothing is read from it, it
        counts. The client of a WebSocket that closed one half may still listen.
        """
        if self.transport.is_closing():
            return True
        poll = select.poll()
        half = select.POLLRDHUP if self.paused and self.half_close_ends else 0
        poll.register(self.transport.get_extra_info("socket").fileno(), half)
        return bool(poll.poll(0))

    def arm_reset(self) -> None:
        """Have the kernel reset the connection, whatever closes it.

        So it is also where this process is killed. A unix socket can't be reset.
        """
        self._reset_armed = True
        self._set_linger(_RESETS)

    def disarm_reset(self) -> None:
        """Have the kernel close the connection as usual."""
        self._reset_armed = False
        self._set_linger(_CLOSES)

    def _set_linger(self, value: bytes) -> None:
        sock = self.transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)

    def is_closing(self) -> bool:
        """Whether it is closed, or will be when all was sent."""
        return self.transport.is_closing()

    def abort(self) -> None:
        """Close it at once, whatever was not sent."""
        self.transport.abort()

    def close(self) -> None:
        """Close it when all was sent."""
        self.transport.close()

    def begin_close(self) -> None:
        """Take nothing more; what was written is still sent."""
        if self.state != LINGERING:
            self.state = CLOSING

    def begin_linger(self) -> None:
        """Take nothing more until the client closes."""
        self.state = LINGERING

    def close_within_response(self) -> bool:
        """End a response that has no end of its own; answer whether that took more than closing."""
        if not (self._reset_armed and self.is_tls):
            return False
        # Closing would send the end that TLS has of its own. What was written goes out first.
        self.state = LINGERING
        asyncio.get_running_loop().call_soon(self.transport.abort)
        return True

    def shut_down(self) -> None:
        """Send the end of what was written, and read on only to throw away what comes."""
        self.transport.resume_reading()
        if self.transport.can_write_eof():  # not over TLS
            self.transport.write_eof()

    def close_tls(self) -> None:
        """Close over TLS without the client's word for it, which an idle one gives late or never.

        Everything has to be with it before: as the last sweep found it, and this one.
        """
        if not self.is_tls:
            return
        if self.unsent_bytes():
            self._all_sent = False
        elif self._all_sent:
            self.transport.abort()
        else:
            self._all_sent = True
