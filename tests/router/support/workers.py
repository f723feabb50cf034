"""The workers of a running llmhop, and what any of them answers."""

from __future__ import annotations

from pathlib import Path

from tests.router.support.endpoints import ask
from tests.router.support.process import Process

MANY = 60  # connections: that one of three workers gets none of them has a chance of 1 in 10^10


def workers(process: Process) -> list[int]:
    """The ids of the workers."""
    pid = process.process.pid
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def listed(port: int) -> bytes:
    return ask(port, b"GET /v1/models HTTP/1.1\r\nHost: r\r\n\r\n").body
