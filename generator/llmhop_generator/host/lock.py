"""One run at a time: two that change a host at once would undo each other's steps."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from llmhop_generator.errors import GeneratorError

LOCK = Path("/run/llmhop-generator.lock")
_POLL_S = 0.2


@contextmanager
def locked(wait_s: float, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock; where another run holds it, say which and wait for up to `wait_s`.

    The kernel frees it with the process that holds it, however that ends.

    Raises:
        GeneratorError: it is still held after that time.
    """
    with _opened() as file:
        end, told = time.monotonic() + wait_s, False
        while not _taken(file):
            holder = _holder(file)
            if time.monotonic() >= end:
                raise GeneratorError(
                    f"another run is at work ({holder}), and nothing was changed; "
                    "try again when it has ended, or give --lock-timeout"
                )
            if not told:
                report(f"waiting for another run ({holder})")
                told = True
            time.sleep(_POLL_S)
        _sign(file)
        yield


@contextmanager
def try_locked(report: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lock, or say who does; answer whether it is held here.

    Raises:
        GeneratorError: it can't be opened.
    """
    with _opened() as file:
        taken = _taken(file)
        if taken:
            _sign(file)
        else:
            report(f"another run is at work ({_holder(file)}), so nothing was changed")
        yield taken


def _opened() -> TextIO:
    try:
        return LOCK.open("a+", encoding="ascii")
    except OSError as error:
        raise GeneratorError(f"{LOCK} can't be opened: {error.strerror}") from None


def _sign(file: TextIO) -> None:
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()


def _taken(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: TextIO) -> str:
    file.seek(0)
    pid = file.read().strip()
    return f"pid {pid}" if pid.isdecimal() else "of unknown pid"
