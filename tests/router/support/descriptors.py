"""Descriptors that take nothing more."""

from __future__ import annotations

import os


def fill(descriptor: int) -> None:
    """Write until nothing more is taken."""
    os.set_blocking(descriptor, False)
    for size in (4096, 1):
        try:
            while os.write(descriptor, b"x" * size):
                pass
        except BlockingIOError:
            pass
    os.set_blocking(descriptor, True)
