"""What is known of a client's connection: what it waits for, and the memory it takes.

A deadline runs only for what the client has to do. Which one is told by what is waited for, and
that by the state of the connection alone (`_waits_for`); it begins when something else is waited
for, and with each request anew. While a form is waited for, no time of its backend runs.

| waits for | when | until | then |
| --- | --- | --- | --- |
| the backend | an exchange runs, and nothing is read for it | the exchange knows | |
| the end of a WebSocket | its client has sent all | CLOSE_S | is cut off |
| the body | some of it is missing, and it is read | minUploadRate | 408 |
| the reader | nothing runs; the last response waits for the client | CLIENT_STALL_S | closes |
| the head | some of it is there | CLIENT_HEAD_S | 408 |
| a request | nothing of it is there | CLIENT_IDLE_S | closes |
| the end | it is to close when all was sent | CLOSE_S | closes |
| the client's end | it was refused in the middle of a request | LINGER_S | closes |

Who takes more of a response meanwhile has more time, by CLIENT_STALL_S. What a client sends while
its last response waits for it stays unread, so no deadline of a request runs.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import sys
import termios
from collections.abc import Callable
from typing import Final, Protocol

from llmhop import limits
from llmhop.backend.backends import Backends
from llmhop.backend.readiness import Readiness
from llmhop.client.connection_limit import ConnectionLimit, Slot
from llmhop.client.memory_budget import Budget, Share
from llmhop.client.work_queue import WorkQueue
from llmhop.errors import ApiError
from llmhop.http.head import RequestHead
from llmhop.http.local_response import Page
from llmhop.http.request_reader import RequestReader
from llmhop.observe.observer import Observer
from llmhop.relay.body_stream import FormStream, WebSocketStream
from llmhop.relay.exchange import Exchange
from llmhop.relay.head_memo import HeadMemo
from llmhop.routing.table import Table

# What is waited for. Plain numbers, because an Enum's members cost more to look up.
NOTHING: Final = 0
BACKEND: Final = 1
SOCKET_END: Final = 2
BODY: Final = 3
READER: Final = 4
HEAD: Final = 5
REQUEST: Final = 6
END: Final = 7
CLIENT_END: Final = 8

# By what is waited for. That of a body is the table's.
_SECONDS: Final = (
    *(math.inf, math.inf, limits.CLOSE_S, math.inf, limits.CLIENT_STALL_S),
    *(limits.CLIENT_HEAD_S, limits.CLIENT_IDLE_S, limits.CLOSE_S, limits.LINGER_S),
)


class Router(Protocol):
    """What the connections share. `now` is loop time, as of the last sweep."""

    table: Table
    backends: Backends
    readiness: Readiness
    observer: Observer
    budget: Budget
    connection_limit: ConnectionLimit
    work: WorkQueue
    draining: bool
    now: float

    async def metrics_page(self) -> Page:
        """Return the page for Prometheus."""

    def client_connected(self, client: ClientState) -> None:
        """A client connected."""

    def client_disconnected(self, client: ClientState) -> None:
        """A client's connection is closed."""


class ClientState(asyncio.Protocol):
    """What ClientConnection stands on. `transport` and `write` are there once it was connected."""

    __slots__ = (
        "_closing",
        "_deadline",
        "_deferred",
        "_exchange",
        "_half_closed",
        "_head",
        "_is_new",
        "_lingering",
        "_memo",
        "_paused",
        "_piece_at",
        "_reader",
        "_received",
        "_refusal",
        "_reset_armed",
        "_router",
        "_share",
        "_slot",
        "_stream",
        "_turn_asked_at",
        "_unsent",
        "_waiting",
        "_window_start",
        "_write_paused",
        "record",
        "transport",
        "write",
    )

    transport: asyncio.Transport
    write: Callable[[bytes], None]
    """Sends bytes to the client."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._memo = HeadMemo(router.table)
        self._reader = RequestReader()
        self._head: RequestHead | None = None
        self._stream: FormStream | WebSocketStream | None = None
        self.record = router.observer.new_record()
        self._exchange = Exchange(self._memo, self.record, router.backends)
        self._slot: Slot | None = Slot(router.connection_limit)
        self._waiting = NOTHING
        self._deadline = math.inf
        self._received = self._window_start = 0
        self._piece_at = 0.0
        self._share = Share(router.budget)
        self._refusal: ApiError | None = None
        self._is_new = True
        self._closing = self._lingering = self._half_closed = False
        self._paused = False
        self._deferred = b""
        self._turn_asked_at: float | None = None
        self._write_paused = False
        self._reset_armed = False
        self._unsent = 0

    # Deadlines.

    def _waits_for(self) -> int:
        if self._lingering:
            return CLIENT_END
        if self._closing:
            return END
        if self._exchange.active:
            if self._half_closed:
                return SOCKET_END
            reads = isinstance(self._stream, FormStream) and not self._paused
            return BODY if reads else BACKEND
        if self._write_paused:
            return READER
        if self._head is not None:
            return BODY
        return HEAD if self._reader.pending else REQUEST

    def _wait(self) -> None:
        """Set the deadline if something else is waited for than before."""
        waits_for = self._waits_for()
        if waits_for == self._waiting:
            return
        self._waiting = waits_for
        self._unsent = 0
        if waits_for == BODY:
            self._piece_at = self._router.now
            self._open_window(self._piece_at)
        elif waits_for == BACKEND:
            self._deadline = math.inf
        else:
            self._deadline = self._router.now + _SECONDS[waits_for]

    def await_turn(self) -> None:
        """Read no more for now: what came waits for another pass of the event loop.

        No deadline runs meanwhile, as the client is not who is late.
        """
        if self._turn_asked_at is None:
            self._turn_asked_at = self._router.now
        self.transport.pause_reading()

    def take_turn(self) -> None:
        """Read on: that pass has come."""
        if self._turn_asked_at is not None:
            self._deadline += self._router.now - self._turn_asked_at
            self._turn_asked_at = None
        self._resume_reading()

    def _resume_reading(self) -> None:
        """Read on, unless something else is waited for before."""
        if not self._paused and self._turn_asked_at is None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _open_window(self, now: float) -> None:
        """Have some time for the next part of a body; it must not pause for all of it."""
        self._window_start = self._received
        until = now + self._router.table.upload_window
        self._deadline = min(until, self._piece_at + limits.CLIENT_BODY_S)

    def _count_received(self, count: int) -> None:
        """Take note of bytes that were read."""
        self._received += count
        self._piece_at = self._router.now

    def _still_reads(self, now: float) -> bool:
        """Whether the client took more of a response since this was asked last; ask later again."""
        unsent = self.unsent_bytes()
        if unsent == self._unsent:  # or all was sent
            return False
        self._unsent = unsent
        self._deadline = now + limits.CLIENT_STALL_S
        return unsent > 0

    # Memory.

    def held_bytes(self) -> int:
        """How much of what the client has sent is in memory.

        Without what passes through on its way: forms whose backend is known, and WebSockets.
        """
        exchange, stream = self._exchange, self._stream
        if not exchange.active:
            held = self._reader.held_bytes + len(self._deferred)
            return held + stream.held_bytes if isinstance(stream, FormStream) else held
        if stream is not None:
            return exchange.held_bytes
        return exchange.held_bytes + self._reader.held_bytes + len(self._deferred)

    def _account(self) -> bool:
        """Have what is held count against the limit; answer whether that has room for it."""
        return self._share.set(self.held_bytes())

    def unsent_bytes(self) -> int:
        """How much of what was written the client has not taken, here and in the kernel.

        The kernel takes more only when a third of its buffer is free, which may be a megabyte;
        how much of it is on its way tells of a client that reads in smaller steps.
        """
        queued = fcntl.ioctl(
            self.transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4)
        )  # tcp(7), SIOCOUTQ; unix(7) has it too
        return self.transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)
