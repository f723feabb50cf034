"""Notifies systemd of the service's state (sd_notify(3)), without libsystemd.

Nothing here blocks: systemd may read late (it is stopped, or the host is busy), and then its
socket is full. Messages that must not be lost are queued, in order, until `resume` finds room.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from typing import Final

from llmhop.limits import DRAIN_SPARE_S

_MAX_UNSENT: Final = 16
"""Messages that are kept. The latest ones say where the service stands: a READY=1 that follows
says all that the ones before it did."""

_MAX_DIGITS: Final = 18  # more microseconds than any clock has

_PASSING: Final = frozenset((errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
"""Errors for want of room, memory or descriptors, which there may be later."""


class Notifier:
    """Sends messages such as "READY=1". Outside systemd, nothing happens.

    A message for which there is no receiver is dropped, as sd_notify does.
    """

    def __init__(self) -> None:
        self._unsent: deque[bytes] = deque(maxlen=_MAX_UNSENT)

    @property
    def waits(self) -> bool:
        """Whether something is to be sent by `resume`."""
        return bool(self._unsent)

    def resume(self) -> None:
        """Send what waits, as far as there is room; to be called now and then."""
        while self._unsent and _send_to_systemd(self._unsent[0]):
            self._unsent.popleft()

    def ready(self, status: str) -> None:
        """Notify systemd that the service is ready, also after a reload (READY=1)."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Announce a reload; `ready` must follow. Type=notify-reload wants the time with it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def status(self, status: str) -> None:
        """Notify systemd of the status (STATUS=)."""
        if self._unsent and self._unsent[-1].startswith(b"STATUS="):
            self._unsent.pop()  # out of date
        self._tell(f"STATUS={status}")

    def alive(self) -> None:
        """Ping the watchdog. Where the socket is full, the next ping counts."""
        _send_to_systemd(b"WATCHDOG=1")

    def stopping(self, status: str, drain_timeout: float) -> None:
        """Notify systemd that the service stops, which may take `drain_timeout` seconds.

        Longer than the unit's TimeoutStopSec=, too (EXTEND_TIMEOUT_USEC= in sd_notify(3)).
        """
        microseconds = round((drain_timeout + DRAIN_SPARE_S) * 1_000_000)
        self._tell("STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={microseconds}")

    def _tell(self, *lines: str) -> None:
        self._unsent.append("\n".join(lines).encode())
        self.resume()


def watchdog_interval() -> float | None:
    """How often systemd wants to hear WATCHDOG=1, in seconds, or None (sd_watchdog_enabled(3))."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if len(microseconds) > _MAX_DIGITS:
        return None
    meant_for = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or int(microseconds) == 0 or meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000


def _send_to_systemd(data: bytes) -> bool:
    """Send a message, and answer whether that is over; if not, there is no room for now."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return True
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(data, socket.MSG_DONTWAIT, address)
    except OSError as error:
        return error.errno not in _PASSING
    return True
