"""The command as a user or systemd runs it: a process of its own, its output and exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
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
        process.process.send_signal(number)  # once more: the drain goes on
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


def test_a_check_imports_no_event_loop() -> None:
    """It is asked before every change of a host, and importing one would take a third of it."""
    script = "import sys, llmhop.cli; print({'asyncio', 'ssl', 'uvloop'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_check_tells_programs_each_problem_and_its_path(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    path.write_text(json.dumps({"workers": "two", "models": {"a.b": {"urls": [1]}}}))
    done = llmhop("--config", str(path), "--check", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    url, workers = json.loads(done.stdout)["problems"]
    assert workers == {
        "where": "workers",
        "what": "is not a whole number",
        "todo": "write a number from 1 to 256",
        "path": ["workers"],
    }
    assert url["path"] == ["models", "a.b", "urls", 0]
    path.write_text(json.dumps({"models": {"m": {"url": "http://h"}}}))
    done = llmhop("--config", str(path), "--check", "--json")
    assert (done.returncode, done.stderr, json.loads(done.stdout)) == (0, "", {"problems": []})


def test_a_check_without_secrets_reads_no_file_and_no_variable(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    config = {
        "tls": {"certificate": "cert.pem", "key": "key.pem"},
        "authTokens": ["${file:token}", "$NOT_SET"],
        "models": {"m": {"url": "http://h", "headers": {"A": "Bearer ${env:NOT_SET}"}}},
    }
    path.write_text(json.dumps(config))
    arguments = ("--config", str(path), "--check")
    assert llmhop(*arguments).returncode == 1
    done = llmhop(*arguments, "--without-secrets")
    assert (done.returncode, done.stderr) == (0, "")
    path.write_text(json.dumps(config | {"authTokens": ["", "${file:}"], "tls": {"key": "\0"}}))
    done = llmhop(*arguments, "--without-secrets")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        *("tls.certificate", "tls.key", "authTokens[0]", "authTokens[1]")
    ]


def test_what_belongs_to_a_check_is_refused_without_it(tmp_path: Path) -> None:
    for option in ("--json", "--without-secrets"):
        assert llmhop("--config", str(tmp_path / "llmhop.json"), option).returncode == 2


def test_check_says_what_would_be_served_and_binds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        models = {"a": {"url": "http://h"}, "b": {"url": "https://h"}}
        path.write_text(json.dumps({"listen": address, "models": models}))
        done = llmhop("--config", str(path), "--check")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"ok: 2 models, listening on {address}\n"
        done = llmhop("--config", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"listen: can't bind {address} (")
        assert "Traceback" not in done.stderr


BAD_FILES = {
    "empty": (b"", "is not JSON (line 1, column 1: Expecting value)"),
    "not JSON": (b'{\n  "models": {,\n}', "is not JSON (line 2, column 14"),
    "trailing comma": (b'{"models": {},}', "is not JSON (line 1, column"),
    "not UTF-8": (b'{"listen": "\xff"}', "is not UTF-8 (byte 12)"),
    "byte order mark": (b"\xef\xbb\xbf{}", "is not JSON (line 1, column 1"),
    "key twice": (b'{"listen": ":1", "listen": ":2"}', "has the key 'listen' twice"),
    "NaN": (b'{"maxBodyBytes": NaN}', "has NaN, which JSON does not know"),
    "endless number": (b'{"port": ' + b"1" * 5000 + b"}", "has a number that is too long"),
    "deep nesting": (b"[" * 100_000, "is nested too deeply"),
}


@pytest.mark.parametrize(("content", "words"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_is_no_config_is_refused_with_its_name(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "llmhop.json"
    path.write_bytes(content)
    done = llmhop("--config", str(path), "--check")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}: {words}")
    assert len(done.stderr.splitlines()) == 1


def test_a_path_that_can_not_be_read_is_refused_with_its_name(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "is a directory"),
        (tmp_path / "none", "does not exist"),
        (tmp_path / "file" / "below", "can't be read (Not a directory)"),
    ):
        (tmp_path / "file").touch()
        done = llmhop("--config", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"{path}: {words}")
        assert len(done.stderr.splitlines()) == 1


def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    path.write_text("{}")
    path.chmod(0)
    # Root reads everything, so the command runs without that right where we are root.
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, sys.executable, "-m", "llmhop", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"{path}: can't be read (permission denied); let the user of llmhop read it\n"
    )


def test_every_problem_of_a_config_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    path.write_text('{"port": "x", "modelz": {}, "models": {"m": {"url": "h"}}}')
    done = llmhop("--config", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    starts = [line.partition(": ")[0] for line in done.stderr.splitlines()]
    assert starts == ["modelz", "port", "models.m.url"]


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
