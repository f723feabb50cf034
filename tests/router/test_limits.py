"""Limits over all clients: memory for bodies, and connections."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from llmhop.metric_cells import CELL_OF_REFUSAL

from tests.router.certificates import Authority
from tests.router.conftest import StartBackend, StartRouter
from tests.router.engine import Engine, wait_until_queued
from tests.router.form_requests import head, until_read
from tests.router.forms import FILE
from tests.router.peer import Peer
from tests.router.process import Run
from tests.router.scrape import Scrape
from tests.router.support import (
    Backend,
    LoopThread,
    Received,
    RunningRouter,
    Wire,
    chat,
    post,
    respond_json,
    wait_until,
)

MB = 1024 * 1024
LIMIT = {"maxBodyBytes": MB, "maxBufferedBytes": 2 * MB}
HEALTH = b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n"


def held(router: RunningRouter) -> int:
    return router.thread.call(lambda: router.server.budget.held)


def refusals(port: int, reason: str) -> float:
    return Scrape(port).value("llmhop_refusals_total", reason=reason)


def body(size: int) -> bytes:
    return b'{"model":"m","x":"%b"}' % (b"x" * (size - 20))


def in_chunks(size: int) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: r", "Transfer-Encoding: chunked"]
    chunk = b"2710\r\n%b\r\n" % (b"x" * 10_000)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + chunk * (size // 10_000)


HALVES: dict[str, bytes] = {
    "length": post(body(1_000_000))[:500_000],
    "chunks": in_chunks(500_000),
    "form": head(1_000_000) + b"--XbX\r\n" + FILE + b"\r\n\r\n" + b"x" * 500_000,
}


@pytest.mark.usefixtures("fresh_metrics")
@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
def test_stalled_bodies_take_no_more_than_they_may(half: bytes, start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"}, **LIMIT)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(6)]
        for wire in wires[:4]:
            wire.send(half)
        wait_until(lambda: 4 * 499_000 < held(router) <= 2 * MB)
        for wire in wires[4:]:
            with contextlib.suppress(ConnectionError):
                wire.send(half)
            response = wire.response()
            assert (response.status, response.error_code) == (503, "overloaded")
            assert response.headers["retry-after"] == "1"
            assert response.headers["connection"] == "close"
            assert held(router) <= 2 * MB
        assert refusals(router.port, "buffered_bytes") == 2
        assert Scrape(router.port).value("llmhop_buffered_bytes") == held(router)
    wait_until(lambda: held(router) == 0)


def test_those_that_are_in_are_not_hurt_by_those_refused(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend()}, **LIMIT)
    whole = post(body(MB))
    with Wire(router.port) as first, Wire(router.port) as second, Wire(router.port) as third:
        for wire in (first, second):
            wire.send(whole[:-5])
        wait_until(lambda: held(router) == 2 * (MB - 5))
        with contextlib.suppress(ConnectionError):
            third.send(whole)
        assert third.response().status == 503
        for wire in (first, second):
            wire.send(whole[-5:])
            assert wire.response().body == body(MB)
    wait_until(lambda: held(router) == 0)


def test_a_body_of_the_largest_size_fits_by_itself(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend()}, maxBodyBytes=MB, maxBufferedBytes=MB)
    with Wire(router.port) as wire:
        for _ in range(3):
            wire.send(post(body(MB)))
            assert wire.response().body == body(MB)


def test_small_bodies_in_a_queue_are_counted_and_refused(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    engine = Engine()
    model = {"url": start_backend(engine.respond).url, "maxConcurrent": 1, "maxQueued": 1000}
    router = start_router({"m": model}, maxBodyBytes=50_000, maxBufferedBytes=100_000)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(6)]
        for number, wire in enumerate(wires[:5]):
            wire.send(post(body(24_000)))
            wait_until_queued(router, min(number, 4))
        assert held(router) == 4 * 24_000
        wires[5].send(post(body(24_000)))
        response = wires[5].response()
        assert (response.status, response.error_code) == (503, "overloaded")
        wires[5].send(HEALTH)  # it was read to its end, so the connection goes on
        assert wires[5].response().status == 200
        for _ in wires[:5]:
            engine.go_on.release()
        for wire in wires[:5]:
            assert wire.response().body == body(24_000)
        assert held(router) == 0


def test_a_body_counts_until_its_backend_has_taken_it(start_router: StartRouter) -> None:
    with Peer(receive_buffer=4096) as peer:
        router = start_router({"m": peer.url}, maxBodyBytes=40 * MB, maxBufferedBytes=80 * MB)
        with Wire(router.port) as wire:
            sent = post(body(40 * MB))
            wire.send(sent)
            link = peer.accept()
            wait_until(lambda: held(router) == 40 * MB)
            link.head()
            link.read(40 * MB - 10)
            wait_until(lambda: held(router) == 0)
            assert router.thread.call(lambda: bool(router.server.clients))


def test_a_body_that_may_be_sent_again_counts_until_the_response(start_router: StartRouter) -> None:
    with Peer() as peer:
        router = start_router({"m": {"url": peer.url, "retries": 1}})
        with Wire(router.port) as wire:
            wire.send(post(chat()))
            link = peer.accept()
            link.head()
            link.read(len(chat()))
            assert held(router) == len(chat())
            link.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
            assert wire.head()[0] == 200
            assert held(router) == 0


def test_who_sends_too_much_ahead_is_refused_after_the_answer_that_is_due(
    start_router: StartRouter,
) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url}, maxBodyBytes=20_000, maxBufferedBytes=20_000)
        with Wire(router.port) as wire, Wire(router.port) as other:
            other.send(b"G")
            wire.send(post(chat()))
            link = peer.accept()
            link.head()
            link.read(len(chat()))
            wire.send(post(body(19_000)))
            until_read(router)
            assert held(router) > 19_000
            wire.send(post(body(19_000)))
            until_read(router)
            assert held(router) == 1
            wire.send(b"x" * 100_000)
            until_read(router)
            assert held(router) == 1
            link.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert wire.response().body == b"ok"
            response = wire.response()
            assert (response.status, response.error_code) == (503, "overloaded")
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.at_end()


def test_what_is_sent_ahead_waits_in_the_kernel_beyond_a_bound(start_router: StartRouter) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        with Wire(router.port) as wire:
            wire.send(post(chat()))
            peer.accept().head()
            wire.socket.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                wire.send(b"x" * 50_000_000)
            # One read more than 64 KB, at most.
            assert held(router) < 64 * 1024 + 512 * 1024
            (client,) = router.server.clients
            assert router.thread.call(lambda: not client.transport.is_reading())


def test_a_reload_changes_the_limits(start_router: StartRouter) -> None:
    models = {"m": {"url": "http://127.0.0.1:1"}}
    router = start_router({}, models=models, **LIMIT)
    with Wire(router.port) as wire, Wire(router.port) as other:
        wire.send(post(body(900_000))[:-100_000])
        wait_until(lambda: held(router) == 800_000)
        router.reload({"models": models, "maxBodyBytes": 100, "maxBufferedBytes": 100})
        other.send(post(body(90))[:-5])
        assert other.response().error_code == "overloaded"
        # What is in memory goes on.
        wire.send(b"x" * 50_000)
        wait_until(lambda: held(router) == 850_000)
    wait_until(lambda: held(router) == 0)


@pytest.mark.parametrize("workers", [1, 4])
def test_each_worker_takes_its_share(workers: int, start_router: StartRouter) -> None:
    limits = {"maxBodyBytes": 10, "maxBufferedBytes": 101, "maxConnections": 5, "workers": workers}
    router = start_router({"m": "http://127.0.0.1:1"}, **limits)
    server = router.server
    found = router.thread.call(lambda: (server.budget.limit, server.connection_limit.limit))
    assert found == ((101, 5) if workers == 1 else (26, 2))


def test_four_stalled_clients_of_100_mb_can_not_fill_the_memory(run: Run) -> None:
    model = {"m": {"url": "http://127.0.0.1:1"}}
    process = run({"models": model, "maxBodyBytes": 64 * MB, "maxBufferedBytes": 64 * MB})
    piece = b"x" * MB
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(process.port)) for _ in range(6)]
        for wire in wires:
            wire.send(head_of(60 * MB))
        for _ in range(40):
            for wire in wires:
                with contextlib.suppress(ConnectionError):  # of who was refused
                    wire.send(piece)
            assert Scrape(process.port).value("llmhop_buffered_bytes") <= 64 * MB
        wait_until(lambda: refusals(process.port, "buffered_bytes") == 5)
        wires[5].socket.shutdown(socket.SHUT_WR)
    wait_until(lambda: Scrape(process.port).value("llmhop_buffered_bytes") == 0)


def head_of(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n" % length


# Connections.


def served(port: int) -> int:
    """The status that a new client gets."""
    with Wire(port) as wire:
        wire.send(HEALTH)
        return wire.response().status


def test_clients_beyond_the_limit_are_turned_away(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"}, maxConnections=3)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(3)]
        for wire in wires:
            wire.send(HEALTH)
            assert wire.response().status == 200
        for _ in range(200):
            with Wire(router.port) as wire:
                wire.send(HEALTH)
                response = wire.response()
                assert (response.status, response.error_code) == (503, "overloaded")
                assert response.headers["retry-after"] == "1"
                assert response.headers["connection"] == "close"
                wire.socket.shutdown(socket.SHUT_WR)
                assert wire.at_end()
        wires[0].close()
        wait_until(lambda: served(router.port) == 200)
        wires[1].send(b"GET /metrics HTTP/1.1\r\nHost: r\r\n\r\n")
        assert b'llmhop_refusals_total{reason="connections"} 2' in wires[1].response().body


def test_few_who_are_turned_away_have_time_to_read_it(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"}, maxConnections=1)
    turned_away = router.server._turned_away
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(200)]
        for wire in wires[1:]:
            assert wire.response().status == 503
        # The rest of them is closed at once.
        assert router.thread.call(lambda: len(turned_away)) == 128
    wait_until(lambda: router.thread.call(lambda: len(turned_away)) == 0)


@pytest.mark.parametrize("refused", [False, True], ids=["served", "turned away"])
def test_a_failed_handshake_gives_its_place_back(
    refused: bool, start_router: StartRouter, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    router = start_router({"m": "http://127.0.0.1:1"}, maxConnections=2, **authority.config())
    limit = router.server.connection_limit
    with ExitStack() as stack:
        plain = [stack.enter_context(Wire(router.port)) for _ in range(3 if refused else 2)]
        wait_until(lambda: router.thread.call(lambda: limit.taken) == 2)
        for wire in plain:
            wire.send(HEALTH)  # no TLS
    wait_until(lambda: router.thread.call(lambda: limit.taken) == 0)


def test_a_flood_of_tls_clients_takes_no_more_than_it_may(
    start_router: StartRouter, tmp_path: Path
) -> None:
    """None of them ends its handshake, and none is refused after one."""
    authority = Authority(tmp_path)
    router = start_router({"m": "http://127.0.0.1:1"}, maxConnections=2, **authority.config())
    server = router.server
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(200)]
        wait_until(lambda: refused_connections(router) == 198)
        assert router.thread.call(lambda: server._turned_away_limit.taken) == 128
        for wire in wires[130:]:
            assert wire.at_end()
        assert router.thread.call(lambda: len(server._tls_listeners[0]._handshakes)) == 130
    wait_until(lambda: router.thread.call(lambda: server._turned_away_limit.taken) == 0)
    wire = authority.wire(router.port)
    wire.send(HEALTH)
    assert wire.response().status == 200
    wire.close()


def refused_connections(router: RunningRouter) -> int:
    process = router.server.observer._metrics.process
    return router.thread.call(lambda: process[CELL_OF_REFUSAL["connections"]])


def test_without_a_descriptor_tls_clients_wait(start_router: StartRouter, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    router = start_router({"m": "http://127.0.0.1:1"}, **authority.config())
    (listener,) = router.server._tls_listeners
    accept = listener._sock.accept
    faults = [OSError(errno.EMFILE, "Too many open files")]

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(sock, name)

        def accept(self) -> object:
            if faults:
                raise faults.pop()
            return accept()

    sock = listener._sock
    router.thread.call(lambda: setattr(listener, "_sock", Full()))
    wire = authority.wire(router.port)
    assert not faults
    wire.send(HEALTH)
    assert wire.response().status == 200
    wire.close()


def test_a_client_gives_its_place_back_whoever_keeps_its_protocol(
    start_router: StartRouter,
) -> None:
    """uvloop keeps the last protocol that reads into memory of its own."""
    router = start_router({"m": "http://127.0.0.1:1"})
    with Wire(router.port) as wire:
        wire.send(HALVES["length"])
        wait_until(lambda: held(router) > 400_000)
    wait_until(lambda: router.thread.call(lambda: router.server.connection_limit.taken) == 0)


_FEW_FILES = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
os.execv(sys.executable, [sys.executable, "-m", "llmhop", *sys.argv[1:]])
"""


def test_few_descriptors_are_enough_for_each_client_at_every_backend(
    tmp_path: Path, loop_thread: LoopThread
) -> None:
    """Idle connections of ten backends would be more than there are descriptors."""
    most, urls = 32, 10
    together = asyncio.Barrier(most)

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        await together.wait()
        await respond_json(request, writer)

    everywhere = "0.0.0.0"  # noqa: S104 - for all of 127.0.0.0/8
    backend = Backend(loop_thread, respond, host=everywhere).start()
    models = {f"m{n}": {"url": f"http://127.0.0.{n + 1}:{backend.port}"} for n in range(urls)}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"listen": "127.0.0.1:0", "models": models}))
    command = [sys.executable, "-c", _FEW_FILES, "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert f"(LimitNOFILE=) allows {most}" in line
            port = int(process.stderr.readline().rsplit(":", 1)[1])
            with ExitStack() as stack:
                wires = [stack.enter_context(Wire(port)) for _ in range(most)]
                for model in models:
                    for wire in wires:
                        wire.send(post(chat(model)))
                    assert [wire.response().status for wire in wires] == [200] * most
        finally:
            process.terminate()
            backend.stop()


def test_few_descriptors_make_fewer_places_and_never_an_end(
    tmp_path: Path, start_backend: StartBackend
) -> None:
    config = {"listen": "127.0.0.1:0", "models": {"m": {"url": start_backend().url}}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**config, "maxConnections": 1000}))
    command = [sys.executable, "-c", _FEW_FILES, "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "of 1000 connections the limit of open files (LimitNOFILE=) allows 32" in line
            port = int(process.stderr.readline().rsplit(":", 1)[1])
            with ExitStack() as stack:
                wires = [stack.enter_context(Wire(port)) for _ in range(600)]
                statuses = []
                for wire in wires:
                    with contextlib.suppress(OSError, AssertionError):
                        wire.send(post(chat()))
                        statuses.append(wire.response().status)
                assert statuses.count(200) == 32
                assert set(statuses) == {200, 503}
            wait_until(lambda: served(port) == 200)
        finally:
            process.kill()


@pytest.mark.parametrize("workers", [1, 2])
def test_too_few_descriptors_for_one_client_are_told(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(
            {"listen": "127.0.0.1:0", "models": {"m": {"url": "http://h"}}, "workers": workers}
        )
    )
    for few in range(8, 200, 48):
        code = _FEW_FILES.replace("256", str(few))
        done = subprocess.run(
            [sys.executable, "-c", code, "--config", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        said = f"LimitNOFILE: allows {few} open files, and one client takes 194; raise it"
        assert done.stderr.startswith(said)
        assert len(done.stderr.splitlines()) == 1
