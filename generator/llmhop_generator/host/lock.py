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
_LOCKS = Path("/proc/locks")
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
    """Hold the lock, or report its holder; return whether it is held here.

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


def run_at_work() -> int | None:
    """The pid of the run that holds the lock, or None where none does.

    It is asked of /proc/locks (proc_locks(5)): trying the lock would be in the way of a run.
    """
    try:
        inode, pid = LOCK.stat().st_ino, LOCK.read_text(encoding="ascii").strip()
        held = [line.split() for line in _LOCKS.read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):
        return None
    # Such as `1: FLOCK ADVISORY WRITE 4711 00:19:2034 0 EOF`; of who waits there is a `->` more.
    of_runs = [words[4] for words in held if words[1] == "FLOCK" and words[5].endswith(f":{inode}")]
    return int(pid) if pid in of_runs else None


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
