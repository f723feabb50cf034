"""The limit on the memory for bodies over all clients: what counts, and who is refused."""

from __future__ import annotations

import contextlib
import socket
from contextlib import ExitStack

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.backends.engine import Engine, wait_until_queued
from tests.router.support.corpus.form_requests import head, until_read
from tests.router.support.corpus.forms import FILE
from tests.router.support.endpoints import HEALTH, RunningRouter, Wire, chat, post, wait_until
from tests.router.support.peer import Peer
from tests.router.support.process import Run
from tests.router.support.scrape import Scrape

MB = 1024 * 1024
LIMIT = {"maxBodyBytes": MB, "maxBufferedBytes": 2 * MB}


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


def test_too_many_pipelined_bytes_are_refused_after_the_current_response(
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
