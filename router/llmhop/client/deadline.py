"""What a client's connection waits for, and until when.

A deadline runs only while the client has to act. What is waited for follows from the state of the
connection alone (`Session.waits_for`). A deadline starts when that changes, and anew with each
request. While a form is received, the timeouts of its backend do not run.

| waits for | when | until | then |
| --- | --- | --- | --- |
| the backend | an exchange runs, and nothing is read for it | see relay.exchange | |
| the end of a WebSocket | its client has sent all | CLOSE_S | is cut off |
| the body | some of it is missing, and it is read | minUploadRate | 408 |
| the reader | nothing runs; the last response waits for the client | CLIENT_STALL_S | closes |
| the head | some of it is there | CLIENT_HEAD_S | 408 |
| a request | nothing of it is there | CLIENT_IDLE_S, at a drain DRAIN_KEPT_S | closes |
| the end | it is to close when all was sent | CLOSE_S | closes |
| the client's close | it was refused in the middle of a request | LINGER_S | closes |

A client that takes more of a response meanwhile gets CLIENT_STALL_S more. While the last response
is not taken, nothing is read, so no deadline of a request runs.
"""

from __future__ import annotations

import math
from typing import Final

from llmhop import limits
from llmhop.client.server_context import ServerContext

# What is waited for. Plain numbers, because an Enum's members cost more to look up.
NOTHING: Final = 0
BACKEND: Final = 1
WEBSOCKET_END: Final = 2
BODY: Final = 3
READER: Final = 4
HEAD: Final = 5
REQUEST: Final = 6
END: Final = 7
CLIENT_END: Final = 8

# By what is waited for. That of a body is the table's. The type says a plain tuple, as mypyc
# takes a Final one of floats by themselves for unset.
_SECONDS: Final[tuple[float, ...]] = (
    *(math.inf, math.inf, limits.CLOSE_S, math.inf, limits.CLIENT_STALL_S),
    *(limits.CLIENT_HEAD_S, limits.CLIENT_IDLE_S, limits.CLOSE_S, limits.LINGER_S),
)


class Deadline:
    """When a client has taken too long: `at` (loop time), for what the connection `waits_for`."""

    __slots__ = (
        "_idle_s",
        "_piece_at",
        "_received",
        "_server",
        "_unsent",
        "_window_start",
        "at",
        "waits_for",
    )

    def __init__(self, server: ServerContext) -> None:
        self._server = server
        self.waits_for = NOTHING
        self.at = math.inf
        self._idle_s = limits.CLIENT_IDLE_S
        self._received = self._window_start = 0
        self._piece_at = 0.0
        self._unsent = 0

    def wait_for(self, what: int) -> None:
        """Begin to wait, if something else was waited for before."""
        if what == self.waits_for:
            return
        self.waits_for = what
        self._unsent = 0
        if what == BODY:
            self._piece_at = self._server.now
            self._open_window(self._piece_at)
        elif what == BACKEND:
            self.at = math.inf
        elif what == REQUEST:
            self.at = self._server.now + self._idle_s
        else:
            self.at = self._server.now + _SECONDS[what]

    def postpone(self, seconds: float) -> None:
        """Extend the deadline by a time for which the client is not to blame."""
        self.at += seconds

    def waited(self) -> float:
        """For how many seconds a head has been waited for; 0 where nothing of one was there."""
        return (
            max(0.0, self._server.now - self.at + limits.CLIENT_HEAD_S)
            if self.waits_for == HEAD
            else 0.0
        )

    def shorten(self, seconds: float) -> None:
        """Shorten the deadline to so many seconds from now."""
        self.at = min(self.at, self._server.now + seconds)

    def shorten_idle(self, seconds: float) -> None:
        """Shorten it, and the idle timeout after the next response."""
        self._idle_s = seconds
        self.shorten(seconds)

    def received(self, count: int) -> None:
        """Note bytes that were read."""
        self._received += count
        self._piece_at = self._server.now

    def upload_goes_on(self, now: float) -> bool:
        """Whether enough of a body has come for its time; then the next part has some too."""
        if self._received - self._window_start < self._server.table.upload_bytes:
            return False
        self._open_window(now)
        return True

    def _open_window(self, now: float) -> None:
        """Have some time for the next part of a body; it must not pause for all of it."""
        self._window_start = self._received
        until = now + self._server.table.upload_window
        self.at = min(until, self._piece_at + limits.CLIENT_BODY_S)

    def client_takes(self, unsent: int, now: float) -> bool:
        """Whether the client took more of a response since this was asked last; ask later again.

        `unsent` is how many bytes of it are left.
        """
        if unsent == self._unsent:  # or all was sent
            return False
        self._unsent = unsent
        self.at = now + limits.CLIENT_STALL_S
        return unsent > 0
