"""Starts what is measured, loads it, and reads what the kernel counted for it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from candidates import Candidate

HERE = Path(__file__).parent
ROUTER_CPU, LOAD_CPU, BOTH_CPUS = "0", "1", "0,1"
_TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
_START_S = 10


@dataclass(frozen=True)
class Result:
    """What one load showed. `rate` and `cpu_us` are per second and per request or event."""

    rate: float
    cpu_us: float
    first_event_us: float = 0
    count: int = 0


@dataclass(frozen=True)
class Load:
    """Requests of one kind. `ways` are those of request_client.c in which they are sent."""

    body_bytes: int
    connections: int
    ways: tuple[str, ...] = ()


class BenchmarkError(Exception):
    """A measurement that says nothing; the message says why."""


def pinned(cpu: str, *command: str) -> list[str]:
    """Return `command` to run on one CPU."""
    return ["taskset", "-c", cpu, *command]


@contextlib.contextmanager
def running(
    command: list[str], port: int, start_s: float = _START_S
) -> Iterator[tuple[int, float]]:
    """Run `command` until the block ends; give its pid and the milliseconds to listening.

    Raises BenchmarkError where it does not listen within `start_s`.
    """
    begin = time.monotonic()
    # A file, because a pipe that nobody reads would stop who writes much into it.
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors) as process,
    ):
        try:
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > begin + start_s:
                    errors.seek(0)
                    said = errors.read().decode(errors="replace")
                    raise BenchmarkError(f"{shlex.join(command)} does not listen on {port}: {said}")
                time.sleep(0.001)
            yield process.pid, (time.monotonic() - begin) * 1000
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cpu_us(pid: int) -> float:
    """Return the CPU time that a process has used, in microseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_US


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0


def requests(
    candidate: Candidate,
    pid: int,
    body_bytes: int,
    connections: int,
    seconds: int,
    load_cpus: str = LOAD_CPU,
) -> Result:
    """Load with whole requests, as many as go. Raises BenchmarkError where any fails."""
    url = f"http://127.0.0.1:{candidate.ports['m']}/"
    command = pinned(load_cpus, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s")
    before = cpu_us(pid)
    output = subprocess.run(
        [*command, "-s", str(HERE / "post.lua"), url],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "BODY_BYTES": str(body_bytes)},
    ).stdout
    used = cpu_us(pid) - before
    count = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if count is None or rate is None or "Non-2xx" in output or "Socket errors" in output:
        raise BenchmarkError(f"{candidate.name}, {body_bytes} bytes: {output}")
    return Result(float(rate[1]), used / int(count[1]), count=int(count[1]))


def client_requests(
    candidate: Candidate, pid: int, build: Path, load: Load, seconds: int
) -> Result:
    """Load with requests that wrk can't send. Raises BenchmarkError where any fails."""
    program = str(build / "request_client")
    numbers = [candidate.ports["m"], load.connections, seconds, load.body_bytes]
    before = cpu_us(pid)
    output = subprocess.run(
        pinned(LOAD_CPU, program, *map(str, numbers), *load.ways),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    used = cpu_us(pid) - before
    seen = json.loads(output)
    if seen["failures"] or not seen["requests"]:
        raise BenchmarkError(f"{candidate.name}, {load}: {output}")
    return Result(seen["rate"], used / seen["requests"], count=seen["requests"])


def events(
    candidate: Candidate, pid: int, build: Path, model: str, streams: int, seconds: int
) -> Result:
    """Load with event streams. Raises BenchmarkError where any fails."""
    program = str(build / "sse_client")
    arguments = [str(candidate.ports[model]), model, str(streams), str(seconds)]
    before = cpu_us(pid)
    output = subprocess.run(
        pinned(LOAD_CPU, program, *arguments), check=True, capture_output=True, text=True
    ).stdout
    used = cpu_us(pid) - before
    seen = json.loads(output)
    if seen["failures"] or not seen["events"]:
        raise BenchmarkError(f"{candidate.name}, {streams} streams: {output}")
    rate = seen["events"] / seconds
    return Result(rate, used / seen["events"], seen["first_event_us"], seen["events"])


def build(directory: Path) -> None:
    """Compile the backend, the clients, and the router in Go."""
    for name in ("backend", "request_client", "sse_client"):
        source = str(HERE / f"{name}.c")
        command = ["gcc", "-O2", "-Wall", "-o", str(directory / name), source]
        subprocess.run(command, check=True)
    command = ["go", "build", "-o", str(directory / "go_router"), str(HERE / "go_router.go")]
    subprocess.run(command, check=True, env={**os.environ, "GOCACHE": str(directory / "go")})
