"""Tells systemd how the service is (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time

from llmhop.limits import DRAIN_SPARE_S


class Notifier:
    """Sends messages such as "READY=1", without libsystemd."""

    def notify(self, *lines: str) -> None:
        """Send a message. Outside systemd, nothing happens.

        A message that can't be delivered is dropped, as sd_notify does.
        """
        try:
            _send_to_systemd("\n".join(lines).encode())
        except OSError:
            return

    def ready(self, status: str) -> None:
        """Tell that the service serves, also after a reload."""
        self.notify("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Announce a reload; `ready` must follow. Type=notify-reload wants the time with it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.notify("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def status(self, status: str) -> None:
        """Tell how it goes on."""
        self.notify(f"STATUS={status}")

    def alive(self) -> None:
        """Tell the watchdog that nothing hangs."""
        self.notify("WATCHDOG=1")

    def stopping(self, status: str, drain_timeout: float) -> None:
        """Tell that the service is on its way out, which may take `drain_timeout` seconds.

        Longer than the unit's TimeoutStopSec=, too (EXTEND_TIMEOUT_USEC= in sd_notify(3)).
        """
        microseconds = round((drain_timeout + DRAIN_SPARE_S) * 1_000_000)
        self.notify("STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={microseconds}")


def watchdog_interval() -> float | None:
    """How often systemd wants to hear WATCHDOG=1, in seconds, or None (sd_watchdog_enabled(3))."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or int(microseconds) == 0 or meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000


def _send_to_systemd(data: bytes) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(data, address)
