"""Standard error and standard output are in nobody's way, whatever becomes of them."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from llmhop.log import logger as log_module
from llmhop.log.logger import LOG, log

from tests.router.conftest import StartBackend
from tests.router.support.descriptors import fill
from tests.router.support.endpoints import HALF, TIMEOUT, Wire, ask, chat, post, stall, wait_until
from tests.router.support.process import Run
from tests.router.support.scrape import Scrape
from tests.router.support.workers import workers as workers_of

STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}
GONE = "http://127.0.0.1:1"

Output = int | str
"""What a stream becomes: a descriptor, or what a shell makes of it."""


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


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("stream", "way"),
    [("stdin", "closed"), *((stream, way) for stream in ("stdout", "stderr") for way in WAYS)],
)
def test_no_stream_holds_up_the_router(
    stream: str, way: str, workers: int, run: Run, start_backend: StartBackend, stack: ExitStack
) -> None:
    output = WAYS[way](stack)
    good, stalls = start_backend(), start_backend(stall(HALF))
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
            assert ask(process.port, post(chat("gone"))).status == 503
            assert ask(process.port, post(chat("good"))).status == 200
        for wire in (stalled, too):  # a deadline ends it
            assert wire.file.read() == b"half"
    process.write({**config, "models": {**models, "new": {"url": good.url}}})
    assert "serves 4 models" in process.reload()
    assert ask(process.port, post(chat("new"))).status == 200
    process.write("no JSON")
    process.reload()
    if way in LOSES and stream != "stdin":
        lost = "log" if stream == "stderr" else "access_log"
        wait_until(lambda: Scrape(process.port).value(f"llmhop_{lost}_dropped_lines_total") > 0)
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


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_the_numbers_of_closed_streams_go_to_nothing_else(
    closed: tuple[int, ...], workers: int, run: Run
) -> None:
    redirect = " ".join([f"{number}>&-" for number in closed])
    config = {"models": {"m": {"url": GONE}}, "workers": workers}
    process = run(config, redirect=redirect)
    for _ in range(3):
        assert ask(process.port, post(chat("m"))).status == 503
    pids = [process.process.pid, *workers_of(process)]
    assert len(pids) == (1 if workers == 1 else 1 + workers)
    held = [Path(f"/proc/{pid}/fd/{number}").readlink() for pid in pids for number in closed]
    assert set(held) == {Path(os.devnull)}
    process.stop()
    assert process.process.wait(TIMEOUT) == 0
    if 2 not in closed:
        assert "Assertion" not in process.end()


def test_importing_opens_nothing() -> None:
    """What is open before the standard streams are filled may have taken a number of theirs."""
    code = """
import os, pkgutil, asyncio, uvloop, click, msgspec, ssl
import llmhop
before = os.listdir("/proc/self/fd")
names = [module.name for module in pkgutil.walk_packages(llmhop.__path__, "llmhop.")]
for name in names:
    if name != "llmhop.__main__":
        __import__(name)
assert len(names) > 50
tasks = len(os.listdir("/proc/self/task"))
assert (os.listdir("/proc/self/fd"), tasks) == (before, 1), os.listdir("/proc/self/fd")
"""
    shell = ["/bin/sh", "-c", 'exec "$0" "$@" <&-', sys.executable, "-c", code]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


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


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reader_that_goes_on_gets_every_line_in_order(workers: int, run: Run) -> None:
    reader, writer = os.pipe()
    fill(writer)
    config = {"models": {"m": {"url": GONE}}, "workers": workers, "listen": "127.0.0.1:0"}
    process = run(config, streams={"stderr": writer})
    os.close(writer)
    for model in ("a", "b", "c"):
        process.write({**config, "models": {"m": {"url": GONE}, model: {"url": GONE}}})
        process.reload()
    process.write("no JSON")
    process.reload()
    found = b""
    os.set_blocking(reader, False)

    def has_all() -> bool:
        nonlocal found
        with suppress(BlockingIOError):
            found += os.read(reader, 1 << 20)
        return b"reload refused" in found

    wait_until(has_all)
    process.stop()
    assert process.process.wait(TIMEOUT) == 0
    os.set_blocking(reader, True)
    while more := os.read(reader, 1 << 20):
        found += more
    os.close(reader)
    told = re.findall(rb"llmhop: (?:[0-9.]+ )?(serves 1|reloaded, serves 2|\w+)", found)
    assert told == [b"serves 1", *[b"reloaded, serves 2"] * 3, b"reload", b"stopping"]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_python_itself_has_to_say_holds_up_nothing(
    workers: int, run: Run, stack: ExitStack
) -> None:
    before = """
import sys
import llmhop.client.connection as module
real = module.ClientConnection.data_received
def received(self, data):
    print("word " * 50_000, file=sys.stderr)
    real(self, data)
module.ClientConnection.data_received = received
"""
    streams = {"stderr": _full_pipe(stack)}
    config = {"models": {"m": {"url": GONE}}, "workers": workers}
    process = run(config, before=before, streams=streams)
    for _ in range(20):
        assert ask(process.port, post(chat("m"))).status == 503
    process.stop()
    assert process.process.wait(TIMEOUT) == 0


@pytest.fixture
def full_stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Has a full pipe for the log's standard error; gives its reader."""
    reader, writer = os.pipe()
    fill(writer)
    os.set_blocking(reader, False)
    monkeypatch.setattr(log_module, "_STDERR", writer)
    LOG.forked()
    yield reader
    LOG.close(0)
    monkeypatch.undo()
    LOG.forked()
    os.close(reader)
    os.close(writer)


def test_a_fork_leaves_what_waits_to_its_parent(full_stderr: int) -> None:
    log("of the parent")
    LOG.forked()
    log("of the child")
    os.read(full_stderr, 1 << 20)
    LOG.close()
    assert os.read(full_stderr, 1 << 20) == b"llmhop: of the child\n"


def test_a_thread_goes_on_with_what_waits(full_stderr: int) -> None:
    log("directly")
    LOG.to_thread()
    log("by a thread")
    os.read(full_stderr, 1 << 20)
    LOG.close(TIMEOUT)
    assert os.read(full_stderr, 1 << 20) == b"llmhop: directly\nllmhop: by a thread\n"
    assert LOG.take_dropped() == 0
