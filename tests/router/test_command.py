"""The command as a user or systemd runs it: a process of its own, its output and exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from llmhop import __version__
from llmhop.relay import exchange

from tests.router.conftest import StartBackend
from tests.router.support.corpus.responses import CHUNKED
from tests.router.support.endpoints import (
    TIMEOUT,
    Backend,
    Received,
    Wire,
    chat,
    post,
    respond_in_two,
)
from tests.router.support.process import Process, Run, llmhop


def test_it_starts_serves_and_stops(run: Run, start_backend: StartBackend) -> None:
    backend = start_backend()
    process = run({"models": {"m": {"url": backend.url}}})
    assert process.started.startswith(f"llmhop: {__version__} serves 1 model on http://127.0.0.1:")
    with Wire(process.port) as wire:
        wire.send(post(chat()))
        assert wire.response().body == chat()
        process.stop()
        assert wire.at_end()
    assert process.process.wait(TIMEOUT) == 0
    assert "Traceback" not in process.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_waits_for_the_stream_that_runs(
    number: signal.Signals, run: Run, start_backend: StartBackend
) -> None:
    go_on = threading.Event()

    stream = respond_in_two(CHUNKED + b"1\r\na\r\n", go_on, b"1\r\nb\r\n0\r\n\r\n")
    backend = start_backend(stream)
    process = run({"models": {"m": {"url": backend.url}}, "drainTimeout": 50.5})
    with Wire(process.port) as wire:
        wire.send(post(chat()))
        assert wire.head()[0] == 200
        assert wire.chunk() == b"a"
        process.process.send_signal(number)
        assert process.notified() == {
            "STOPPING": "1",
            "STATUS": "waiting for 1 connection",
            # For systemd, whose TimeoutStopSec= may be shorter (sd_notify(3)).
            "EXTEND_TIMEOUT_USEC": "65500000",
        }
        with pytest.raises(ConnectionRefusedError):
            # Asked until the listener is closed, which follows the notification.
            while True:
                with suppress(ConnectionResetError):  # queued when the listener was closed
                    Wire(process.port).close()
        go_on.set()
        assert wire.chunk() == b"b"
        assert wire.chunk() == b""
        assert wire.at_end()
    assert process.process.wait(TIMEOUT) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_waits_no_longer_than_it_may(
    workers: int, run: Run, start_backend: StartBackend
) -> None:
    async def stall(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await asyncio.Event().wait()

    models = {"m": {"url": start_backend(stall).url}}
    process = run({"models": models, "drainTimeout": 0.1, "workers": workers})
    with Wire(process.port) as wire:
        wire.send(post(chat()))
        assert wire.head()[0] == 200
        assert wire.chunk() == b"a"
        process.stop()
        # TIMEOUT is less than the default of drainTimeout.
        assert process.process.wait(TIMEOUT) == 0
    assert any("end=shutting_down" in line for line in process.lines())


def test_a_stop_serves_a_client_that_has_just_come(run: Run, start_backend: StartBackend) -> None:
    process = run({"models": {"m": {"url": start_backend().url}}})
    with Wire(process.port) as first, Wire(process.port) as late:
        # Once this is answered, both connections have been accepted.
        first.send(post(chat()))
        assert first.response().status == 200
        process.stop()
        assert first.at_end()
        late.send(post(chat()))
        response = late.response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert late.at_end()
    assert process.process.wait(TIMEOUT) == 0


# Reads a config again only when a test lets it, once for each time.
GATED = """
import llmhop.config.load as module
real = module._read_json
def read(path, may_wait):
    if not may_wait:
        open(str(path) + ".gate").read(1)
    return real(path, may_wait)
module._read_json = read
"""


def gated(run: Run, backend: Backend) -> tuple[Process, Path]:
    """Start a process that reads its config again only when somebody writes into a FIFO."""
    process = run({"models": {"m": {"url": backend.url}}}, before=GATED)
    gate = Path(f"{process.path}.gate")
    os.mkfifo(gate)
    return process, gate


def serves(port: int, *models: str) -> bool:
    """Whether these models are served, and no others."""
    with Wire(port) as wire:
        wire.send(b"GET /v1/models HTTP/1.1\r\nHost: r\r\n\r\n")
        found = json.loads(wire.response().body)["data"]
    return [model["id"] for model in found] == list(models)


def test_clients_are_served_while_a_config_is_read(run: Run, start_backend: StartBackend) -> None:
    backend = start_backend()
    process, gate = gated(run, backend)
    process.write({"listen": "127.0.0.1:0", "models": {"n": {"url": backend.url}}})
    process.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in process.notified()
    with Wire(process.port) as wire:
        wire.send(post(chat()))
        assert wire.response().status == 200
    assert serves(process.port, "m")
    gate.write_text("x")
    assert process.notified()["READY"] == "1"
    assert serves(process.port, "n")


def test_reloads_follow_each_other_and_the_last_one_wins(
    run: Run, start_backend: StartBackend
) -> None:
    backend = start_backend()
    process, gate = gated(run, backend)
    process.write({"listen": "127.0.0.1:0", "models": {"first": {"url": backend.url}}})
    process.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in process.notified()
    for _ in range(3):  # which are one that follows
        process.process.send_signal(signal.SIGHUP)
        assert serves(process.port, "m")
    gate.write_text("x")
    assert process.notified()["READY"] == "1"
    assert "RELOADING" in process.notified()
    assert serves(process.port, "first")
    process.write({"listen": "127.0.0.1:0", "models": {"last": {"url": backend.url}}})
    gate.write_text("x")
    assert process.notified()["READY"] == "1"
    assert serves(process.port, "last")
    process.notifications.setblocking(False)
    with pytest.raises(BlockingIOError):
        process.notified()


def test_a_stop_while_a_config_is_read_is_the_last_that_is_told(
    run: Run, start_backend: StartBackend
) -> None:
    process, gate = gated(run, start_backend())
    with Wire(process.port) as late:
        assert serves(process.port, "m")  # so that it has been accepted
        process.process.send_signal(signal.SIGHUP)
        assert "RELOADING" in process.notified()
        process.stop()
        gate.write_text("x")
        late.send(post(chat()))
        assert late.response().status == 200
    assert process.process.wait(TIMEOUT) == 0
    process.notifications.setblocking(False)
    with pytest.raises(BlockingIOError):
        process.notified()
    assert "reloaded" not in process.end()


def test_a_reload_takes_the_new_config_and_refuses_a_bad_one(
    run: Run, start_backend: StartBackend
) -> None:
    first, second = start_backend(), start_backend()
    process = run({"models": {"a": {"url": first.url}}})
    with Wire(process.port) as wire:
        wire.send(post(chat("a")))
        assert wire.response().status == 200
        process.write({"listen": "127.0.0.1:0", "models": {"b": {"url": second.url}}})
        process.reload()
        wire.send(post(chat("a")) + post(chat("b")))
        assert wire.response().status == 404
        assert wire.response().status == 200
        process.write('{"models": {"c": {"url": "nonsense"}}}')
        process.reload()
        process.write("{")
        process.reload()
        wire.send(post(chat("c")) + post(chat("b")))
        assert wire.response().status == 404
        assert wire.response().status == 200
        process.write({"listen": "127.0.0.1:1", "models": {"b": {"url": second.url}}})
        process.reload()
    process.stop()  # so that all of the log is written
    assert process.process.wait(TIMEOUT) == 0
    log = process.end()
    assert log.count("reloaded, serves 1 model") == 2
    assert log.count("reload refused, the old config stays") == 2
    assert "models.c.url: does not start with http://, https:// or unix:/; write e.g. http:" in log
    assert "is not JSON (line 1, column 2" in log
    assert "listen was changed: this takes effect after a restart" in log
    assert "Traceback" not in log


def test_secrets_reach_the_backend_and_no_log(
    run: Run, start_backend: StartBackend, tmp_path: Path
) -> None:
    backend = start_backend()
    (tmp_path / "client").write_text("hunter2\n")
    process = run(
        {
            "authTokens": ["${file:client}"],
            "models": {
                "m": {"url": backend.url, "headers": {"Authorization": "Bearer ${env:KEY}"}},
                "down": {"url": "http://127.0.0.1:1", "headers": {"X": "$KEY"}},
            },
        },
        CREDENTIALS_DIRECTORY=str(tmp_path),
        KEY="hunter3",
    )
    with Wire(process.port) as wire:
        for model, status in (("m", 200), ("down", 503)):
            wire.send(post(chat(model), "/v1/x", "Authorization: Bearer hunter2"))
            response = wire.response()
            assert response.status == status
            assert b"hunter" not in response.body
    assert backend.requests[0].values("authorization") == ["Bearer hunter3"]
    command = Path(f"/proc/{process.process.pid}/cmdline").read_text()
    assert "hunter" not in process.started + process.end() + command


@pytest.mark.parametrize("arguments", [[], ["--config"], ["--nonsense"], ["--config", "a", "b"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    done = llmhop(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_and_the_help_are_told() -> None:
    compiled = " (compiled)" if exchange.__file__.endswith(".so") else ""
    assert llmhop("--version").stdout == f"llmhop {__version__}{compiled}\n"
    assert "--check" in llmhop("--help").stdout
