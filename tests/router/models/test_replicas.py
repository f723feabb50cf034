"""A model with several backends: which one gets a request, and which one gets it next."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest

from tests.router.conftest import FullListener, StartBackend, StartRouter
from tests.router.support.backends.replicas import (
    backend_of,
    counts,
    leave,
    outstanding,
    replicas,
)
from tests.router.support.endpoints import (
    Received,
    Wire,
    chat,
    hold,
    post,
    respond_json,
    wait_until,
)


def test_replicas_that_are_idle_take_turns(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backends = [start_backend() for _ in range(3)]
    router = start_router(replicas(*backends))
    with Wire(router.port) as wire:
        for _ in range(9):
            wire.send(post(chat()))
            assert wire.response().body == chat()
    assert counts(*backends) == [3, 3, 3]
    assert [backend.connections for backend in backends] == [1, 1, 1]


def test_the_replica_with_the_fewest_requests_in_flight_is_next(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    busy, free = start_backend(hold), start_backend()
    router = start_router(replicas(busy, free))
    with Wire(router.port) as waiting, Wire(router.port) as wire:
        waiting.send(post(chat()))
        assert busy.arrived.acquire(timeout=20)
        for _ in range(5):
            wire.send(post(chat()))
            assert wire.response().body == chat()
        assert outstanding(router) == [1, 0]
    assert counts(busy, free) == [1, 5]


def test_each_replica_gets_its_own_host_and_path(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(), start_backend()
    model = {"urls": [f"{first.url}/a", f"{second.url}/b?k=1"], "headers": {"X-Key": "s"}}
    router = start_router({"m": model})
    with Wire(router.port) as wire:
        for _ in range(4):
            wire.send(post(chat(), "/v1/x?y"))
            assert wire.response().status == 200
    for backend, line in (
        (first, "POST /a/v1/x?y HTTP/1.1"),
        (second, "POST /b/v1/x?k=1&y HTTP/1.1"),
    ):
        assert [request.line for request in backend.requests] == [line, line]
        for request in backend.requests:
            assert request.values("host") == [f"127.0.0.1:{backend.port}"]
            assert request.values("x-key") == ["s"]


def test_a_replica_that_refuses_is_passed_over_and_the_client_sees_nothing_of_it(
    start_backend: StartBackend, start_router: StartRouter, capfd: pytest.CaptureFixture[str]
) -> None:
    down, up = start_backend(), start_backend()
    router = start_router(replicas(down, up))
    down.stop()
    with Wire(router.port) as wire:
        for _ in range(10):
            wire.send(post(chat()))
            assert wire.response().body == chat()
    assert counts(down, up) == [0, 10]
    assert outstanding(router) == [0, 0]
    lines = capfd.readouterr().err.splitlines()
    assert f"backend of model 'm' at {down.url} can't be reached" in lines[0]


def test_a_replica_whose_connections_turn_out_closed_is_passed_over_if_it_refuses_new_ones(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(), start_backend()
    router = start_router(replicas(first, second))
    with Wire(router.port) as wire:
        for _ in range(2):
            wire.send(post(chat()))
            assert wire.response().status == 200
        first.close_connections()
        wire.send(post(chat()))
        assert wire.response().status == 200
        assert (counts(first, second), first.connections) == ([2, 1], 2), "a fresh one, same place"
        second.stop()
        for _ in range(3):
            wire.send(post(chat()))
            assert wire.response().status == 200
    assert counts(first, second) == [5, 1]


def test_each_replica_is_tried_once_and_then_the_client_is_told(
    start_router: StartRouter, start_backend: StartBackend, capfd: pytest.CaptureFixture[str]
) -> None:
    backends = [start_backend() for _ in range(3)]
    router = start_router(replicas(*backends))
    for backend in backends:
        backend.stop()
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        response = wire.response()
        assert (response.status, response.error_code) == (503, "backend_unavailable")
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 3
        assert all(b.url in line for b, line in zip(backends, lines, strict=True))
        # All are ejected now, and are tried all the same.
        backends[1].start()
        wire.send(post(chat()))
        assert wire.response().status == 200
    assert outstanding(router) == [0, 0, 0]


def test_a_replica_that_is_set_aside_gets_nothing_while_another_one_is_there(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    ejected, other = start_backend(), start_backend()
    router = start_router(replicas(ejected, other))
    health = backend_of(router).pools[0].health
    router.thread.call(lambda: health.failed(math.inf))
    with Wire(router.port) as wire:
        for _ in range(6):
            wire.send(post(chat()))
            assert wire.response().status == 200
        assert counts(ejected, other) == [0, 6]
        router.thread.call(health.succeeded)
        for _ in range(2):
            wire.send(post(chat()))
            assert wire.response().status == 200
        assert counts(ejected, other) == [1, 7]


def test_a_replica_that_is_aside_is_asked_in_the_background_and_no_client_waits_for_it(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(leave), start_backend()
    router = start_router(replicas(first, second))
    pool = backend_of(router).pools[0]
    health = pool.health
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        response = wire.response()
        assert (response.status, response.error_code) == (503, "backend_unavailable")
        assert int(response.headers["retry-after"]) >= 1
        assert health.ejected
        for answer, ejected in ((leave, True), (respond_json, False)):
            first.respond = answer
            asked = len(first.requests)
            router.thread.call(lambda: setattr(health, "_probe_at", 0.0))
            router.sweep_after(0)
            wait_until(lambda: not router.thread.call(lambda: pool.probing))
            assert first.requests[asked].line == "GET /health HTTP/1.1"
            assert health.ejected == ejected
        asked = len(first.requests)
        for _ in range(4):
            wire.send(post(chat()))
            assert wire.response().status == 200
    assert len(first.requests) == asked + 2


def test_one_that_accepts_and_resets_gets_a_request_once_and_not_all_of_them(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    broken, good = start_backend(leave), start_backend()
    router = start_router(replicas(broken, good))
    statuses = []
    with Wire(router.port) as wire:
        for _ in range(50):
            wire.send(post(chat()))
            statuses.append(wire.response().status)
    assert sorted(statuses) == [200] * 49 + [503]


def test_polling_ready_puts_no_replica_back_that_is_set_aside(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(), start_backend()
    router = start_router(replicas(first, second))
    health = backend_of(router).pools[0].health
    router.thread.call(lambda: health.failed(math.inf))
    with Wire(router.port) as wire:
        for _ in range(3):
            wire.send(b"GET /ready HTTP/1.1\r\nHost: r\r\n\r\n")
            assert wire.response().status == 200
    assert health.ejected


def test_a_connection_that_nobody_takes_over_is_kept_for_a_while_and_closed(
    start_router: StartRouter, full_listener: FullListener
) -> None:
    router = start_router({"m": full_listener.url})
    (pool,) = backend_of(router).pools
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        wait_until(lambda: router.thread.call(lambda: pool.outstanding) == 1)
    with full_listener.accept() as connection:
        wait_until(lambda: router.thread.call(lambda: pool.idle) == 1)
        router.sweep_after(5)
        assert connection.recv(1) == b""


def test_a_reload_ends_attempts_that_nobody_waits_for(
    start_backend: StartBackend, start_router: StartRouter, full_listener: FullListener
) -> None:
    router = start_router({"m": full_listener.url})
    (pool,) = backend_of(router).pools
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        wait_until(lambda: router.thread.call(lambda: pool.outstanding) == 1)
    wait_until(lambda: router.thread.call(lambda: pool.outstanding) == 0)

    def tasks() -> int:
        return len(asyncio.all_tasks(router.thread.loop))

    before = router.thread.call(tasks)
    router.reload({"models": {"m": {"url": start_backend().url}}})
    wait_until(lambda: router.thread.call(tasks) == before - 1)


def test_a_replica_that_hangs_is_set_aside_though_every_client_leaves_before_the_timeout(
    start_router: StartRouter, hanging: str
) -> None:
    router = start_router({"m": {"url": hanging, "connectTimeout": 0.5}})
    (pool,) = backend_of(router).pools
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        wait_until(lambda: router.thread.call(lambda: pool.outstanding) == 1)
    wait_until(lambda: router.thread.call(lambda: pool.health.ejected))


def test_a_reload_keeps_what_is_known_of_the_replicas_that_stay(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    go_on = threading.Event()

    async def think(request: Received, writer: asyncio.StreamWriter) -> None:
        if len(busy.requests) == 1:
            await asyncio.to_thread(go_on.wait)
        await respond_json(request, writer)

    busy, removed, added = start_backend(think), start_backend(), start_backend()
    router = start_router(replicas(busy, removed))
    with Wire(router.port) as first, Wire(router.port) as wire:
        first.send(post(chat()))
        assert busy.arrived.acquire(timeout=20)
        health = backend_of(router).pools[0].health
        router.reload({"models": replicas(busy, added)})
        assert backend_of(router).pools[0].health is health
        assert outstanding(router) == [1, 0]
        for _ in range(3):
            wire.send(post(chat()))
            assert wire.response().body == chat()
        assert counts(busy, removed, added) == [1, 0, 3]
        go_on.set()
        assert first.response().body == chat()
        assert outstanding(router) == [0, 0]
        for _ in range(2):
            wire.send(post(chat()))
            assert wire.response().body == chat()
    assert counts(busy, removed, added) == [2, 0, 4]


def test_a_request_that_a_reload_overtakes_goes_where_it_was_meant_to_go(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    old, new = start_backend(), start_backend()
    router = start_router({"m": {"urls": [new.url, f"{old.url}/old"]}})
    with Wire(router.port) as wire:
        for _ in range(2):
            wire.send(post(chat(), "/v1/x", "Expect: 100-continue")[: -len(chat())])
            assert wire.head()[0] == 100
            router.reload({"models": {"m": {"url": new.url}}})
            wire.send(chat())
            assert wire.response().status == 200
            router.reload({"models": {"m": {"urls": [f"{old.url}/old"]}}})
    assert [r.line for r in old.requests] == ["POST /old/v1/x HTTP/1.1"]
    assert [r.line for r in new.requests] == ["POST /v1/x HTTP/1.1"]


def test_two_models_on_one_backend_count_its_requests_together(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    shared, other = start_backend(hold), start_backend()
    router = start_router({"n": shared, "m": {"urls": [shared.url, other.url]}})
    with Wire(router.port) as waiting, Wire(router.port) as wire:
        waiting.send(post(chat("n")))
        assert shared.arrived.acquire(timeout=20)
        for _ in range(4):
            wire.send(post(chat()))
            assert wire.response().status == 200
    assert counts(shared, other) == [1, 4]
