"""Tells systemd what state the service is in (sd_notify(3)), without libsystemd."""

from __future__ import annotations

import os
import socket
import time


def notify(*lines: str) -> None:
    """Send an sd_notify message, e.g. "READY=1". Does nothing outside systemd.

    A message that can't be delivered is dropped, as sd_notify does.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(lines).encode(), address)
        except OSError:
            return


def notify_reloading() -> None:
    """Announce a reload; READY=1 must follow. Type=notify-reload wants the time with it."""
    microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify("RELOADING=1", f"MONOTONIC_USEC={microseconds}")
