"""Signals at any time of a process's life: before it has handlers, and again while it drains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.router.conftest import StartBackend
from tests.router.support.corpus.responses import CHUNKED
from tests.router.support.endpoints import MODELS, TIMEOUT, Wire, chat, post, respond_in_two
from tests.router.support.process import Run
from tests.router.support.workers import has_ended, workers

STOPS = [signal.SIGTERM, signal.SIGINT]
NEVER = 3600

# Sends a signal to its own process as each module of llmhop, or of what it uses, is imported.
AT_EACH_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("llmhop", "click", "msgspec", "uvloop")) and {when}:
            os.kill(os.getpid(), signal.{number})
import llmhop.__main__
sys.meta_path.insert(0, Finder())
sys.argv = ["llmhop", *sys.argv[1:]]
llmhop.__main__.main()
"""


@pytest.mark.parametrize("workers_", [1, 2])
def test_a_reload_that_is_asked_for_too_early_follows_the_start(workers_: int, run: Run) -> None:
    early = AT_EACH_IMPORT.format(number="SIGHUP", when="True")
    process = run({"models": MODELS, "workers": workers_}, before=early)
    assert process.reloaded().startswith("serves 1 model on")
    process.stop()
    assert process.process.wait(TIMEOUT) == 0
    assert process.end().count("reloaded, serves 1 model") == 1


def start(directory: Path, before: str = "") -> subprocess.Popen[str]:
    """Start a process that may end before it is ready, by the config in a directory."""
    command = ["-c", before] if before else ["-m", "llmhop"]
    command += ["--config", str(directory / "llmhop.json")]
    return subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("workers_", [1, 2])
@pytest.mark.parametrize("number", STOPS)
def test_a_stop_that_is_asked_for_too_early_is_one_in_good_order(
    number: signal.Signals, workers_: int, tmp_path: Path
) -> None:
    when = "name in ('llmhop.process.service', 'llmhop.process.server')"
    early = AT_EACH_IMPORT.format(number=number.name, when=when)
    config = {"models": MODELS, "listen": "127.0.0.1:0", "workers": workers_}
    (tmp_path / "llmhop.json").write_text(json.dumps(config))
    with start(tmp_path, early) as process:
        log = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 0
    assert "stopping, " in log


@pytest.mark.parametrize("number", STOPS)
def test_a_start_that_waits_for_its_config_can_be_stopped(
    number: signal.Signals, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "llmhop.json")
    # The FIFO opens when it is being read.
    with start(tmp_path) as process, (tmp_path / "llmhop.json").open("wb"):
        process.send_signal(signal.SIGHUP)
        process.send_signal(number)
        log = process.communicate(timeout=TIMEOUT)[1]
    assert (process.returncode, log) == (-number, "")


@pytest.mark.parametrize("number", STOPS)
def test_a_stop_while_the_command_is_imported_is_no_traceback(
    number: signal.Signals, tmp_path: Path
) -> None:
    early = AT_EACH_IMPORT.format(number=number.name, when="name == 'llmhop.cli'")
    with start(tmp_path, early) as process:
        log = process.communicate(timeout=TIMEOUT)[1]
    assert (process.returncode, log) == (-number, "")


@pytest.mark.parametrize("workers_", [1, 2])
@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)]
)
def test_a_second_signal_ends_the_drain_at_once(
    first: signal.Signals,
    second: signal.Signals,
    workers_: int,
    run: Run,
    start_backend: StartBackend,
) -> None:
    over = threading.Event()
    stream = respond_in_two(CHUNKED + b"1\r\na\r\n", over, b"")
    models = {"m": {"url": start_backend(stream).url}}
    process = run({"models": models, "workers": workers_, "drainTimeout": NEVER})
    pids = workers(process)
    with Wire(process.port) as streaming, Wire(process.port) as waiting:
        streaming.send(post(chat()))
        assert streaming.head()[0] == 200
        assert streaming.chunk() == b"a"
        waiting.send(post(chat())[:-1])
        process.process.send_signal(first)
        assert process.notified()["STOPPING"] == "1"
        process.process.send_signal(second)
        response = waiting.response()
        assert (response.status, response.error_code) == (503, "shutting_down")
        assert streaming.at_end(), "without its last chunk"
        over.set()
    assert process.process.wait(TIMEOUT) == 0
    assert all(has_ended(pid) for pid in pids)
    assert [line.rpartition(" end=")[2] for line in process.lines()] == ["shutting_down"] * 2
    log = process.end()
    assert "cut off at a second signal" in log
    assert "killed" not in log


@pytest.mark.parametrize("workers_", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_means_nothing_here_ends_nothing(
    number: signal.Signals, workers_: int, run: Run
) -> None:
    process = run({"models": MODELS, "workers": workers_})
    pids = workers(process)
    for pid in [*pids, process.process.pid]:
        os.kill(pid, number)
    process.reload()  # so it was heard before
    assert workers(process) == pids
    process.stop()
    assert process.process.wait(TIMEOUT) == 0
    assert process.end().count(f"{number.name} is ignored") == 1


@pytest.mark.parametrize("number", ["SIGUSR1", "SIGUSR2"])
def test_nor_does_it_before_there_are_handlers(number: str, run: Run) -> None:
    process = run({"models": MODELS}, before=AT_EACH_IMPORT.format(number=number, when="True"))
    process.stop()
    assert process.process.wait(TIMEOUT) == 0
