"""Several processes that serve the same addresses, under one that watches them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.router.conftest import StartBackend
from tests.router.support.corpus.responses import CHUNKED
from tests.router.support.endpoints import (
    MODELS,
    TIMEOUT,
    Wire,
    chat,
    post,
    respond_in_two,
    wait_until,
)
from tests.router.support.process import Run, llmhop
from tests.router.support.workers import MANY, has_ended, listed, workers


def test_one_worker_needs_no_supervisor(run: Run) -> None:
    assert workers(run({"models": MODELS, "workers": 1})) == []


def test_each_worker_serves_on_the_same_port(run: Run, start_backend: StartBackend) -> None:
    backend = start_backend()
    process = run({"models": {"m": {"url": backend.url}}, "workers": 3})
    assert process.status.endswith(" with 3 workers")
    assert len(workers(process)) == 3
    for _ in range(MANY):
        with Wire(process.port) as wire:
            wire.send(post(chat()))
            assert wire.response().body == chat()
    # Each worker has connections of its own to the backend.
    assert backend.connections >= 3


def test_a_worker_that_ends_is_replaced_and_the_others_serve_on(run: Run) -> None:
    process = run({"models": MODELS, "workers": 3})
    before = workers(process)
    for victim in before[:2]:
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: has_ended(victim))  # noqa: B023 - called before the next victim
        for _ in range(MANY):
            assert b'"m"' in listed(process.port)
    wait_until(lambda: len(workers(process)) == 3)
    assert workers(process)[0] == before[2]
    assert process.process.poll() is None
    log = process.end()
    assert f"worker {before[0]} ended by SIGKILL; another starts in 0 s" in log
    assert f"worker {before[1]} ended by SIGKILL; another starts in 0.5 s" in log


def test_a_reload_reaches_every_worker_and_those_that_start_later(run: Run) -> None:
    process = run({"models": MODELS, "workers": 3})
    before = workers(process)
    process.write({"models": {"new": {"url": "http://h"}}, "workers": 4})
    assert process.reload().startswith("serves 1 model on http://127.0.0.1:")
    assert all(b'"new"' in listed(process.port) for _ in range(MANY))
    process.write("{")
    process.reload()
    assert all(b'"new"' in listed(process.port) for _ in range(MANY))
    assert workers(process) == before
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(set(workers(process)) - {before[0]}) == 3)
    assert all(b'"new"' in listed(process.port) for _ in range(MANY))
    log = process.end()
    assert log.count("reloaded, serves 1 model") == 1
    assert log.count("reload refused, the old config stays") == 1
    assert log.count("workers was changed: this takes effect after a restart") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_waits_for_the_streams_of_every_worker(
    number: signal.Signals, run: Run, start_backend: StartBackend
) -> None:
    go_on = threading.Event()

    stream = respond_in_two(CHUNKED + b"1\r\na\r\n", go_on, b"1\r\nb\r\n0\r\n\r\n")
    process = run({"models": {"m": {"url": start_backend(stream).url}}, "workers": 2})
    pids = workers(process)
    wires = [Wire(process.port) for _ in range(8)]
    for wire in wires:
        wire.send(post(chat()))
        assert wire.head()[0] == 200
        assert wire.chunk() == b"a"
    process.process.send_signal(number)
    stopping = process.notified()
    assert (stopping["STOPPING"], stopping["STATUS"]) == ("1", "waiting for 2 workers")
    assert stopping["EXTEND_TIMEOUT_USEC"] == "45000000"
    wait_until(lambda: refuses(process.port))
    assert process.process.poll() is None
    for pid in pids:  # which systemd, or a terminal, sends it to as well
        os.kill(pid, number)
    go_on.set()
    for wire in wires:
        assert wire.chunk() == b"b"
        assert wire.chunk() == b""
        assert wire.at_end()
        wire.close()
    assert process.process.wait(TIMEOUT) == 0
    assert all(has_ended(pid) for pid in pids)
    assert "Traceback" not in process.end()


def refuses(port: int) -> bool:
    try:
        Wire(port).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # queued when its listener was closed
        pass
    return False


def test_unix_and_passed_sockets_are_shared_by_the_workers(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    process = run({"models": MODELS, "workers": 2, "listen": f"unix:{path}"})
    for victim in workers(process):
        os.kill(victim, signal.SIGKILL)
        # Whoever is left, or comes next, takes the clients.
        for _ in range(10):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(TIMEOUT)
                client.connect(str(path))
                client.sendall(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
                if not client.recv(100).startswith(b"HTTP/1.1 200"):
                    assert has_ended(victim)  # it was taken by the one that was killed
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(TIMEOUT) == 0
    assert not path.exists()

    with socket.create_server(("127.0.0.1", 0)) as passed:
        process = run({"models": MODELS, "workers": 2}, [passed])
        assert process.port == passed.getsockname()[1]
        assert all(b'"m"' in listed(process.port) for _ in range(10))


def test_workers_do_not_outlive_a_supervisor_that_was_killed(run: Run) -> None:
    process = run({"models": MODELS, "workers": 2})
    pids = workers(process)
    process.process.kill()
    process.process.wait(TIMEOUT)
    for pid in pids:
        wait_until(lambda: has_ended(pid))  # noqa: B023 - called before the next one


def test_the_watchdog_is_pinged_only_while_every_worker_answers(run: Run) -> None:
    process = run({"models": MODELS, "workers": 2}, WATCHDOG_USEC="200000")
    for _ in range(5):
        assert process.notified() == {"WATCHDOG": "1"}
    stopped = workers(process)[1]
    os.kill(stopped, signal.SIGSTOP)
    process.notifications.settimeout(1)
    with pytest.raises(TimeoutError):  # a second without a ping, of which there were 20
        for _ in range(1000):
            assert process.notified() == {"WATCHDOG": "1"}
    process.notifications.settimeout(TIMEOUT)
    os.kill(stopped, signal.SIGCONT)
    assert process.notified() == {"WATCHDOG": "1"}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("host", ["127.0.0.1", "", "localhost"])
def test_no_address_is_shared_with_workers_that_serve_already(
    host: str, count: int, run: Run, tmp_path: Path
) -> None:
    """SO_REUSEPORT would let another llmhop of the same user take some of their clients."""
    process = run({"models": MODELS, "workers": 2})
    other = tmp_path / "other.json"
    address = f"{host or '*'}:{process.port}"
    other.write_text(
        json.dumps({"models": MODELS, "listen": f"{host}:{process.port}", "workers": count})
    )
    done = llmhop("--config", str(other))
    assert done.returncode == 1
    assert done.stderr.startswith(f"listen: can't bind {address} (Address already in use)")
    assert len(done.stderr.splitlines()) == 1
    assert all(b'"m"' in listed(process.port) for _ in range(MANY))


def test_workers_take_no_address_on_which_another_program_listens(tmp_path: Path) -> None:
    config = tmp_path / "llmhop.json"
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(json.dumps({"models": MODELS, "listen": address, "workers": 2}))
        done = llmhop("--config", str(config))
    assert done.returncode == 1
    assert done.stderr.startswith(f"listen: can't bind {address} (Address already in use)")
    assert len(done.stderr.splitlines()) == 1


BLOCKED = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
from llmhop.__main__ import main
main()
"""
"""Starts llmhop as a parent does that blocks signals."""


def test_workers_that_do_not_end_are_killed(run: Run) -> None:
    process = run({"models": MODELS, "workers": 2})
    for pid in workers(process):
        os.kill(pid, signal.SIGSTOP)
    process.stop()
    process.process.send_signal(signal.SIGTERM)  # wait for nobody
    assert process.process.wait(TIMEOUT) == 0
    assert "2 workers did not end and were killed" in process.end()


DEAF = """
import signal
signal.signal = lambda number, handler, real=signal.signal: (
    None if number == signal.SIGCHLD else real(number, handler)
)
"""
"""Has llmhop hear nothing of the end of a process."""


@pytest.mark.parametrize("before", [BLOCKED, DEAF], ids=["blocked by the parent", "not told"])
def test_workers_are_replaced_whatever_becomes_of_signals(run: Run, before: str) -> None:
    process = run({"models": MODELS, "workers": 2}, before=before)
    victim, other = workers(process)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(set(workers(process)) - {victim, other}) == 1)
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(TIMEOUT) == 0
    assert "killed" not in process.end()


_SUPERVISE = """
import resource, sys
from pathlib import Path
from llmhop.config.load import load
from llmhop.log.logger import LOG
from llmhop.workers.supervisor import run
path = Path(sys.argv[1])
config = load(path, may_wait=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)
try:
    run(path, config)
finally:
    LOG.close()
"""


def test_workers_that_can_not_start_end_the_supervisor(tmp_path: Path) -> None:
    config = tmp_path / "llmhop.json"
    config.write_text(
        '{"models": {"m": {"url": "http://h"}}, "listen": "127.0.0.1:0", "workers": 2}'
    )

    def run(descriptors: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _SUPERVISE, str(config), str(descriptors)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    # Enough for a supervisor, and too few for a worker or for its event loop; how many that
    # are depends on the Python.
    ended = [done for done in map(run, range(8, 13)) if "giving up" in done.stderr]
    said = "".join(done.stderr for done in ended)
    assert {done.returncode for done in ended} == {1}
    assert "a worker can't be started (Too many open files); giving up" in said
    assert "ended with code 1 before it served; giving up" in said
