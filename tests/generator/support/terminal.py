"""A terminal of a test's own."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence


def run_on_terminal(
    command: Sequence[str],
    *,
    columns: int = 80,
    env: Mapping[str, str] | None = None,
    code: int = 0,
) -> str:
    """Run a command whose output is a terminal, and give what it writes there.

    It has to end with the exit code `code`.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in _OF_TERMINALS}
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, "TERM": "xterm", **(env or {})},
    )
    os.close(theirs)
    written = b""
    with child, os.fdopen(ours, "rb", buffering=0) as terminal:
        while piece := _read(terminal.fileno()):
            written += piece
    assert child.returncode == code, written
    return written.decode().replace("\r\n", "\n")


_OF_TERMINALS = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "COLORTERM")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # EIO: nobody has it any more
        return b""
