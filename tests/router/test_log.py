"""Standard error and standard output are in nobody's way, whatever becomes of them."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.router.conftest import StartBackend
from tests.router.process import Process, Run
from tests.router.support import TIMEOUT, Received, Wire, chat, post, wait_until

STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}
GONE = "http://127.0.0.1:1"

Output = int | str
"""What a stream becomes: a descriptor, or what a shell makes of it."""


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


def _gone(stack: ExitStack) -> int:
    reader, writer = os.pipe()
    os.close(reader)
    stack.callback(os.close, writer)
    return writer


def _full_pipe(stack: ExitStack) -> int:
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    stack.callback(os.close, writer)
    fill(writer)
    return writer


def _full_socket(stack: ExitStack) -> int:
    ours, its = socket.socketpair()
    stack.callback(ours.close)
    stack.callback(its.close)
    fill(its.fileno())
    return its.fileno()


def _stopped_terminal(stack: ExitStack) -> int:
    ours, its = pty.openpty()
    stack.callback(os.close, ours)
    stack.callback(os.close, its)
    fill(its)
    return its


WAYS: dict[str, Callable[[ExitStack], Output]] = {
    "the reader is gone": _gone,
    "a pipe that nobody reads": _full_pipe,
    "a socket that nobody reads": _full_socket,
    "a terminal that is stopped": _stopped_terminal,
    "closed": lambda _: ">&-",
    "no space left": lambda _: ">/dev/full",
}
LOSES = {"the reader is gone", "closed", "no space left"}
"""Here lines are lost at once; elsewhere they wait, as somebody may read on."""


async def half(request: Received, writer: Any) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    await request.reader.read()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def ask(process: Process, model: str) -> int:
    with Wire(process.port) as wire:
        wire.send(post(chat(model)))
        return wire.response().status


def metric(process: Process, name: str) -> int:
    """A number of all processes."""
    with Wire(process.port) as wire:
        wire.send(b"GET /metrics HTTP/1.1\r\nHost: r\r\n\r\n")
        page = wire.response().body.decode()
    [value] = [line.split()[1] for line in page.splitlines() if line.startswith(f"{name} ")]
    return int(float(value))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("stream", "way"),
    [("stdin", "closed"), *((stream, way) for stream in ("stdout", "stderr") for way in WAYS)],
)
def test_no_stream_holds_up_the_router(
    stream: str, way: str, workers: int, run: Run, start_backend: StartBackend, stack: ExitStack
) -> None:
    output = WAYS[way](stack)
    good, stalls = start_backend(), start_backend(half)
    models: dict[str, Any] = {
        "good": {"url": good.url},
        "gone": {"url": GONE},
        "stalls": {"url": stalls.url, "readTimeout": 1},
    }
    config = {"models": models, "workers": workers, "accessLog": "json"}
    if isinstance(output, int):
        process = run(config, streams={stream: output})
    else:
        process = run(config, redirect=f"{STREAMS[stream]}{output}")
    with Wire(process.port) as stalled, Wire(process.port) as too:
        for wire in (stalled, too):
            wire.send(post(chat("stalls")))
            assert wire.head()[0] == 200
        for _ in range(20):
            assert ask(process, "gone") == 503
            assert ask(process, "good") == 200
        for wire in (stalled, too):  # a deadline ends it
            assert wire.file.read() == b"half"
    process.write({**config, "models": {**models, "new": {"url": good.url}}})
    assert "serves 4 models" in process.reload()
    assert ask(process, "new") == 200
    process.write("no JSON")
    process.reload()
    # Where there is no standard output, there is no access log.
    if way in LOSES and (stream == "stderr" or way != "closed"):
        lost = "log" if stream == "stderr" else "access_log"
        wait_until(lambda: metric(process, f"llmhop_{lost}_dropped_lines_total") > 0)
    if isinstance(output, int):
        assert os.get_blocking(output)  # it is not ours alone
    process.stop()
    assert process.process.wait(TIMEOUT) == 0
    if stream != "stdout":
        ends = [json.loads(line)["end"] for line in process.lines()]
        assert ends.count("complete") >= 21
        assert ends.count("backend_unavailable") == 20
        assert ends.count("backend_stalled") == 2
    if stream != "stderr":
        log = process.end()
        assert "can't be reached" in log
        assert "sent nothing more for 1 s" in log
        assert "reloaded, serves 4 models" in log
        assert "reload refused" in log
        assert "stopping" in log
        assert "Traceback" not in log


@pytest.mark.parametrize("way", WAYS)
def test_what_can_not_be_told_at_the_start_ends_it_all_the_same(
    way: str, tmp_path: Path, stack: ExitStack
) -> None:
    output = WAYS[way](stack)
    command = ["-m", "llmhop", "--config", str(tmp_path / "missing")]
    if isinstance(output, int):
        done = subprocess.run(
            [sys.executable, *command], stderr=output, timeout=TIMEOUT, check=False
        )
    else:
        shell = ["/bin/sh", "-c", f'exec "$0" "$@" 2{output}', sys.executable, *command]
        done = subprocess.run(shell, timeout=TIMEOUT, check=False)
    assert done.returncode == 1
