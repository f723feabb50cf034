"""What was sent to a replica is sent again where the deployer allows it, and only then."""

from __future__ import annotations

import pytest

from tests.router.conftest import StartBackend, StartFake, StartRouter
from tests.router.support.backends.replicas import (
    break_off,
    counts,
    outstanding,
    replicas,
)
from tests.router.support.endpoints import (
    Wire,
    chat,
    hold,
    post,
    respond_bytes,
)
from tests.router.support.fakes.router import FakeRouter, statuses
from tests.router.support.websocket import ASK


def test_what_a_replica_may_have_begun_is_not_sent_to_another_one(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(break_off), start_backend()
    router = start_router(replicas(first, second))
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        response = wire.response()
        assert (response.status, response.error_code) == (502, "backend_error")
        assert "retry-after" not in response.headers
    assert counts(first, second) == [1, 0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE"])
@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"Content-Length: 0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 2\r\n\r\n{}",
    ],
)
def test_only_what_may_be_asked_twice_goes_on_where_a_new_connection_brought_no_byte(
    method: str, body: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    """What publishes a port accepts before anything listens behind it; or it was the engine."""
    first, second = start_backend(respond_bytes(b"", close=True)), start_backend()
    router = start_router(replicas(first, second))
    line = f"{method} /route/m/x HTTP/1.1\r\nHost: r\r\n"
    with Wire(router.port) as wire:
        wire.send(line.encode() + body)
        status = wire.response(to_head=method == "HEAD").status
    goes_on = method in ("GET", "HEAD", "OPTIONS") and not body.endswith(b"{}")
    assert status == (200 if goes_on else 503)
    assert counts(first, second) == [1, int(goes_on)]
    assert outstanding(router) == [0, 0]


def closed_after(router: FakeRouter, seconds: int, request: bytes) -> tuple[int, bool]:
    """The status of a request on whose new connection a backend was silent for so long."""
    client = router.client()
    router.send(client, request)
    first = router.backend()
    router.wait(seconds)
    router.event(first.peer_closes)
    router.event(router.connect)
    goes_on = len(router.loop.backends) > 1
    if goes_on:
        router.answer(router.loop.backends[1], b"")
    return statuses(client)[0], goes_on


GET = b"GET /route/m/x HTTP/1.1\r\nHost: r\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "seconds", "expected"),
    [
        (GET, 0, (200, True)),
        (GET, 2, (200, True)),
        (GET, 6, (502, False)),
        (GET, 300, (502, False)),
        (post(chat()), 2, (503, False)),
        (post(chat()), 6, (502, False)),
        (ASK, 0, (503, False)),
    ],
)
def test_a_backend_that_closes_later_has_worked_on_the_request(
    request_: bytes, seconds: int, expected: tuple[int, bool], start_fake: StartFake
) -> None:
    """What makes an engine end must not go to the next one, and the next."""
    router = start_fake(models={"m": {"urls": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}})
    assert closed_after(router, seconds, request_) == expected


def test_what_goes_on_is_refused_where_every_replica_closes(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = (start_backend(respond_bytes(b"", close=True)) for _ in "ab")
    router = start_router(replicas(first, second))
    with Wire(router.port) as wire:
        wire.send(b"GET /route/m/x HTTP/1.1\r\nHost: r\r\n\r\n")
        assert wire.response().error_code == "backend_unavailable"
    assert counts(first, second) == [1, 1]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_what_a_replica_broke_off_is_sent_again_where_the_deployer_allows_it(
    size: int, start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(break_off), start_backend()
    router = start_router(replicas(first, second, retries=1))
    body = b'{"model":"m","x":"%b"}' % (b"y" * size)
    with Wire(router.port) as wire:
        wire.send(post(body))
        assert wire.response().body == body
    assert [b.requests[0].body for b in (first, second)] == [body, body]
    assert outstanding(router) == [0, 0]


def test_retries_are_counted_and_may_go_to_the_same_backend(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(break_off)
    router = start_router(replicas(backend, retries=2))
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        response = wire.response()
        assert (response.status, response.error_code) == (502, "backend_error")
    assert counts(backend) == [3]


def test_a_request_that_was_sent_once_is_told_so_when_no_replica_is_left(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(break_off), start_backend()
    router = start_router(replicas(first, second, retries=1))
    second.stop()
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.response().error_code == "backend_error"
    assert counts(first, second) == [1, 0]


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
    ],
)
def test_nothing_is_sent_again_after_something_was_relayed(
    raw: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(respond_bytes(raw, close=True)), start_backend()
    router = start_router(replicas(first, second, retries=5))
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.head()[0] == int(raw.split()[1])
        rest = wire.head()[0] if raw.startswith(b"HTTP/1.1 1") else wire.file.read()
        assert rest in (502, b"short")
    assert counts(first, second) == [1, 0]


def test_a_client_that_leaves_ends_the_work_and_the_retries(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(hold)
    router = start_router(replicas(backend, retries=5))
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert backend.arrived.acquire(timeout=20)
    assert backend.gone.acquire(timeout=20)
    assert outstanding(router) == [0]
    assert counts(backend) == [1]
