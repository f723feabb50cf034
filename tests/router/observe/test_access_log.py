"""The access log: one line a request, valid whatever comes, and in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from llmhop.config.config import AccessLogFormat
from llmhop.log.line_buffer import MAX_WAITING_BYTES
from llmhop.observe.access_log import AccessLog, text_line
from llmhop.observe.log_entry import Entry

from tests.router.conftest import StartBackend
from tests.router.support.endpoints import (
    HALF,
    Wire,
    chat,
    hold,
    post,
    respond_bytes,
    stall,
    wait_until,
)
from tests.router.support.process import Process, Run

ENTRY = Entry(
    time="2026-11-23T06:04:06.123Z",
    request_id="id-1",
    client="127.0.0.1",
    client_name="team-a",
    method="POST",
    path="/v1/chat/completions",
    model="m",
    backend="http://127.0.0.1:1",
    status=200,
    bytes_in=1,
    bytes_out=2,
    queue_ms=0.0,
    connect_ms=None,
    first_byte_ms=2.25,
    total_ms=12.5,
    end="complete",
)


def entries(process: Process, count: int) -> list[dict[str, Any]]:
    """The first so many lines, when they are there."""
    wait_until(lambda: len(process.lines()) >= count)
    return [json.loads(line) for line in process.lines()]


def test_a_request_that_was_relayed_is_told_in_full(run: Run, start_backend: StartBackend) -> None:
    backend = start_backend()
    process = run({"models": {"m": {"url": backend.url}}, "accessLog": "json"})
    with Wire(process.port) as wire:
        wire.send(post(chat(), "/v1/chat/completions?key=secret", "X-Request-Id: mine"))
        wire.response()
    [entry] = entries(process, 1)
    size = len(chat())
    for key in ("time", "connect_ms", "first_byte_ms", "total_ms"):
        assert entry.pop(key)
    assert entry == {
        "request_id": "mine",
        "client": "127.0.0.1",
        "client_name": None,
        "method": "POST",
        "path": "/v1/chat/completions",
        "model": "m",
        "backend": backend.url,
        "status": 200,
        "bytes_in": size,
        "bytes_out": size,
        "queue_ms": 0.0,
        "end": "complete",
    }


def test_requests_that_reach_no_backend_are_told_by_their_errors_code(run: Run) -> None:
    models = {"gone": {"url": "http://127.0.0.1:1"}}
    process = run({"models": models, "accessLog": "json", "authTokens": ["t"]})
    key = "Authorization: Bearer t"
    with Wire(process.port) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
        wire.response()
        wire.send(post(chat("gone")))
        wire.response()
    for body in (chat("none"), chat("gone")):
        with Wire(process.port) as wire:
            wire.send(post(body, "/v1/x", key))
            wire.response()
    with Wire(process.port) as wire:
        wire.send(b"NO HTTP\r\n\r\n")
        wire.response()
    found = [(e["status"], e["end"], e["model"], e["path"]) for e in entries(process, 5)]
    assert found == [
        (200, "complete", None, "/health"),
        (401, "invalid_api_key", None, "/v1/chat/completions"),
        (404, "model_not_found", None, "/v1/x"),
        (503, "backend_unavailable", "gone", "/v1/x"),
        (400, "bad_request", None, None),
    ]
    assert "Bearer" not in "".join(process.lines())


def test_the_log_says_which_side_ended_a_response_early(
    run: Run, start_backend: StartBackend
) -> None:
    backends = {
        "breaks": start_backend(respond_bytes(HALF, close=True)),
        "hangs": start_backend(stall(HALF)),
        "silent": start_backend(hold),
    }
    models = {name: {"url": backend.url} for name, backend in backends.items()}
    process = run({"models": models, "accessLog": "json"})
    with Wire(process.port) as wire:
        wire.send(post(chat("breaks")))
        assert wire.head()[0] == 200
        assert wire.file.read() == b"half"
    with Wire(process.port) as wire:
        wire.send(post(chat("hangs")))
        assert wire.head()[0] == 200
    with Wire(process.port) as wire:
        wire.send(post(chat("silent")))
        assert backends["silent"].arrived.acquire(timeout=20)
    told = {(e["model"], e["status"], e["end"], e["bytes_out"]) for e in entries(process, 3)}
    assert told == {
        ("breaks", 200, "backend_broke", 4),
        ("hangs", 200, "client_left", 4),
        ("silent", 499, "client_left", 0),
    }


def test_lines_are_json_whatever_a_client_sends(run: Run) -> None:
    process = run({"models": {"m": {"url": "http://127.0.0.1:1"}}, "accessLog": "json"})
    targets = [b"/\xff\xfe\x80", b'/"}\\', b"/\xe2\x80\xa8", b"/" + b"a" * 5000, b"/%0a%00"]
    for target in targets:
        with Wire(process.port) as wire:
            id_ = b'X-Request-Id: "\\n{\r\n'
            wire.send(b"GET " + target + b" HTTP/1.1\r\nHost: r\r\n" + id_ + b"\r\n")
            wire.response()
    found = entries(process, len(targets))
    assert len(found) == len(targets)
    paths = [str(entry["path"]) for entry in found]
    assert paths[1] == '/"}\\'
    assert len(paths[3]) < 300
    assert all(entry["request_id"] == '"\\n{' for entry in found if entry["path"])
    assert all(path.isascii() and path.isprintable() for path in paths)


def test_text_is_the_default_and_off_writes_nothing(run: Run) -> None:
    models = {"m": {"url": "http://127.0.0.1:1"}}
    process = run({"models": models})
    ask = b"GET /health HTTP/1.1\r\nHost: r\r\nX-Request-Id: a b\r\n\r\n"
    with Wire(process.port) as wire:
        wire.send(ask)
        wire.response()
        process.write({"models": models, "accessLog": "off", "listen": "127.0.0.1:0"})
        process.reload()
        wire.send(ask)
        wire.response()
    process.stop()
    process.process.wait(20)
    [line] = process.lines()
    assert line.startswith("time=20")
    assert ' request_id="a b" ' in line
    assert " client=127.0.0.1 client_name=- method=GET path=/health model=- " in line
    assert line.endswith(" end=complete")


def test_the_last_lines_are_written_before_the_end(run: Run) -> None:
    process = run({"models": {"m": {"url": "http://127.0.0.1:1"}}, "accessLog": "json"})
    with Wire(process.port) as wire:
        for _ in range(1000):
            wire.send(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
            wire.response()
    process.stop()
    assert process.process.wait(20) == 0
    assert len(entries(process, 1000)) == 1000


def test_workers_do_not_mix_their_lines(run: Run) -> None:
    models = {"m": {"url": "http://127.0.0.1:1"}}
    process = run({"models": models, "accessLog": "json", "workers": 3})
    for _ in range(30):
        with Wire(process.port) as wire:
            for _ in range(20):
                wire.send(b"GET /" + b"x" * 200 + b" HTTP/1.1\r\nHost: r\r\n\r\n")
                wire.response()
    ids = [entry["request_id"] for entry in entries(process, 600)]
    assert len(set(ids)) == 600


def test_no_line_is_longer_than_what_a_pipe_takes_in_one_piece() -> None:
    longest = msgspec.structs.replace(
        ENTRY, path="\\" * 259, request_id='"' * 128, model='"' * 400, backend="h" * 300
    )
    assert len(text_line(longest)) < 4096
    assert len(msgspec.json.encode(longest)) < 4096


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("format_", ["json", "text"])
def test_a_reader_that_is_too_slow_loses_lines_and_is_told_how_many(format_: Any) -> None:
    with pipe() as (reader, writer):
        log = AccessLog(writer, format_)
        size = len(text_line(ENTRY) if format_ == "text" else msgspec.json.encode(ENTRY) + b"\n")
        sent = (MAX_WAITING_BYTES + 500_000) // size
        for _ in range(sent):  # this never waits: nobody reads
            log.add(ENTRY)
        log.flush()
        dropped = log.take_dropped()
        assert 0 < dropped < sent
        received = bytearray()

        def read() -> None:
            while not received.endswith(b"END\n"):
                received.extend(os.read(reader, 65536))

        thread = threading.Thread(target=read)
        thread.start()
        wait_until(lambda: len(received) >= (sent - dropped) * size)
        log.add(ENTRY)
        log.flush()
        log.close()
        os.write(writer, b"END\n")
        thread.join(20)
        lines = bytes(received).splitlines()[:-1]
        told = [line for line in lines if b"dropped_lines" in line]
        assert (
            sum(int(line.strip(b"}").split(b"=")[-1].split(b":")[-1]) for line in told) == dropped
        )
        assert len(lines) - len(told) == sent - dropped + 1
        assert len(set(lines) - set(told)) == 1  # each of them whole
        assert log.take_dropped() == 0


def test_a_reader_that_has_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = AccessLog(writer, "json")
    for _ in range(1000):
        log.add(ENTRY)
    log.close()
    os.close(writer)


def test_a_client_that_resets_before_it_is_accepted_is_not_served_unnamed(
    start_backend: StartBackend, run: Run
) -> None:
    backend = start_backend()
    models = {"m": {"url": backend.url}}
    process = run({"listen": "127.0.0.1:0", "accessLog": "json", "models": models})
    process.process.send_signal(signal.SIGSTOP)
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", process.port))
        client.sendall(post(chat()))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    process.process.send_signal(signal.SIGCONT)
    with Wire(process.port) as wire:
        wire.send(post(chat()))
        assert wire.response().status == 200
    process.process.send_signal(signal.SIGTERM)
    process.process.wait()
    assert {json.loads(line)["client"] for line in process.lines()} == {"127.0.0.1"}
    assert len(backend.requests) == 1


def test_an_entry_that_can_not_be_written_takes_no_other_with_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    bad = msgspec.structs.replace(ENTRY, total_ms=object())
    formats: tuple[AccessLogFormat, ...] = ("json", "text")
    for format_ in formats:
        log = AccessLog(1, format_)
        for entry in (ENTRY, bad, ENTRY):
            log.add(entry)
        log.close()
        out, err = capfd.readouterr()
        assert len(out.splitlines()) == 2
        assert "a line of the access log failed with TypeError" in err
