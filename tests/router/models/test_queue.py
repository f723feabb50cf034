"""A model's limit on requests at once: who waits, who is refused, who frees a place."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.backends.engine import (
    Engine,
    gate_of,
    limited,
    numbered,
    numbers,
    wait_until_queued,
)
from tests.router.support.certificates import Authority
from tests.router.support.endpoints import TIMEOUT, Backend, RunningRouter, Wire, chat, post


class StartLimited(Protocol):
    def __call__(self, most: int, **more: Any) -> tuple[Engine, Backend, RunningRouter]: ...


@pytest.fixture
def start_limited(start_backend: StartBackend, start_router: StartRouter) -> StartLimited:
    """Starts a model of so many requests at once, and a router before it."""

    def start(most: int, **more: Any) -> tuple[Engine, Backend, RunningRouter]:
        engine = Engine()
        backend = start_backend(engine.respond)
        return engine, backend, start_router(limited(backend, most, **more))

    return start


def test_the_backend_gets_no_more_requests_at_once_than_it_may_have_and_in_order(
    start_limited: StartLimited,
) -> None:
    engine, backend, router = start_limited(2)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(8)]
        for number, wire in enumerate(wires):
            wire.send(post(numbered(number)))
            if number < 2:
                assert backend.arrived.acquire(timeout=20)
            else:
                wait_until_queued(router, number - 1)
        for _ in range(8):
            engine.go_on.release()
        for number, wire in enumerate(wires):
            assert wire.response().body == numbered(number)
    # The two that run at the same time may change places.
    assert sorted(numbers(backend)) == list(range(8))
    assert all(abs(number - place) <= 1 for place, number in enumerate(numbers(backend)))
    assert engine.most == 2
    assert (gate_of(router).active, gate_of(router).queued) == (0, 0)


def test_a_full_queue_is_answered_with_retry_after(start_limited: StartLimited) -> None:
    engine, backend, router = start_limited(1, maxQueued=1)
    with Wire(router.port) as running, Wire(router.port) as waiting, Wire(router.port) as wire:
        running.send(post(numbered(0)))
        assert backend.arrived.acquire(timeout=20)
        waiting.send(post(numbered(1)))
        wait_until_queued(router, 1)
        wire.send(post(numbered(2)) * 2)
        for _ in range(2):
            response = wire.response()
            assert (response.status, response.error_code) == (429, "rate_limit_exceeded")
            assert response.headers["retry-after"] == "1"
            assert response.error["type"] == "requests"
        engine.go_on.release()
        assert running.response().body == numbered(0)
        engine.go_on.release()
        assert waiting.response().body == numbered(1)
        wire.send(post(numbered(3)))
        engine.go_on.release()
        assert wire.response().body == numbered(3), "the connection goes on"
    assert numbers(backend) == [0, 1, 3]


def test_without_a_queue_the_next_request_is_refused_at_once(start_limited: StartLimited) -> None:
    engine, backend, router = start_limited(1, maxQueued=0)
    with Wire(router.port) as running, Wire(router.port) as wire:
        running.send(post(numbered(0)))
        assert backend.arrived.acquire(timeout=20)
        wire.send(post(numbered(1)))
        assert wire.response().status == 429
        engine.go_on.release()
        assert running.response().status == 200


def test_a_client_that_leaves_the_queue_frees_its_place_and_is_never_served(
    start_limited: StartLimited,
) -> None:
    engine, backend, router = start_limited(1, maxQueued=1)
    with Wire(router.port) as running, Wire(router.port) as wire:
        running.send(post(numbered(0)))
        assert backend.arrived.acquire(timeout=20)
        with Wire(router.port) as leaving:
            leaving.send(post(numbered(1)))
            wait_until_queued(router, 1)
        wait_until_queued(router, 0)
        wire.send(post(numbered(2)))
        wait_until_queued(router, 1)
        for _ in range(2):
            engine.go_on.release()
        assert running.response().status == 200
        assert wire.response().body == numbered(2)
    assert numbers(backend) == [0, 2]


def test_a_client_that_leaves_while_it_is_served_makes_room_for_the_next(
    start_limited: StartLimited,
) -> None:
    engine, backend, router = start_limited(1)
    with Wire(router.port) as wire:
        with Wire(router.port) as running:
            running.send(post(numbered(0)))
            assert backend.arrived.acquire(timeout=20)
            wire.send(post(numbered(1)))
            wait_until_queued(router, 1)
        assert backend.gone.acquire(timeout=20)
        assert backend.arrived.acquire(timeout=20)
        engine.go_on.release()
        assert wire.response().body == numbered(1)
    assert gate_of(router).active == 0


def test_a_request_that_waits_too_long_is_refused_and_others_are_still_admitted(
    start_limited: StartLimited,
) -> None:
    engine, backend, router = start_limited(1, queueTimeout=30)
    with Wire(router.port) as running, Wire(router.port) as waiting, Wire(router.port) as late:
        running.send(post(numbered(0)))
        assert backend.arrived.acquire(timeout=20)
        waiting.send(post(numbered(1)))
        wait_until_queued(router, 1)
        router.sweep_after(0)
        router.sweep_after(25)
        late.send(post(numbered(2)))
        wait_until_queued(router, 2)
        router.sweep_after(32)
        response = waiting.response()
        assert (response.status, response.error_code) == (503, "queue_timeout")
        assert response.headers["retry-after"] == "1"
        for _ in range(2):
            engine.go_on.release()
        assert running.response().status == 200
        assert late.response().body == numbered(2)
    assert numbers(backend) == [0, 2]


def test_a_backend_that_is_down_lets_the_queue_go_on(start_limited: StartLimited) -> None:
    _, backend, router = start_limited(1)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(5)]
        for number, wire in enumerate(wires):
            wire.send(post(numbered(number)))
            if number:
                wait_until_queued(router, number)
        backend.stop()
        statuses = [wire.response().status for wire in wires]
    assert statuses == [503, 503, 503, 503, 503]
    assert gate_of(router).active == 0


def test_requests_that_wait_at_a_drain_are_refused_also_over_tls(
    start_backend: StartBackend, start_router: StartRouter, tmp_path: Path
) -> None:
    authority, engine = Authority(tmp_path), Engine()
    backend = start_backend(engine.respond)
    router = start_router(limited(backend, 1), **authority.config())
    with ExitStack() as stack:
        wires = [stack.enter_context(authority.wire(router.port)) for _ in range(3)]
        for count, wire in enumerate(wires):
            wire.send(post(numbered(count)))
            wait_until_queued(router, count)
        drain = router.server.drain(TIMEOUT)
        drained = asyncio.run_coroutine_threadsafe(drain, router.thread.loop)
        for wire in wires[1:]:
            response = wire.response()
            assert (response.status, response.error_code) == (503, "shutting_down")
            assert wire.at_end()
        engine.go_on.release()
        assert wires[0].response().body == numbered(0)
        assert wires[0].at_end()
        drained.result(TIMEOUT)


def test_a_reload_that_raises_or_lifts_the_limit_lets_in_who_waits(
    start_limited: StartLimited,
) -> None:
    engine, backend, router = start_limited(1)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(6)]
        for number, wire in enumerate(wires):
            wire.send(post(numbered(number)))
            if number:
                wait_until_queued(router, number)
        gate = gate_of(router)
        router.reload({"models": limited(backend, 3)})
        assert gate_of(router) is gate
        assert (gate.active, gate.queued) == (3, 3)
        router.reload({"models": {"m": {"url": backend.url}}})
        assert router.server.models.all()["m"].gate is None, "it costs nothing any more"
        assert (gate.active, gate.queued) == (6, 0)
        for _ in wires:
            assert backend.arrived.acquire(timeout=20)
        engine.go_on.release(len(wires))
        for number, wire in enumerate(wires):
            assert wire.response().body == numbered(number)
    assert engine.most == 6


def test_the_limit_counts_requests_to_every_replica(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    engine = Engine()
    backends = [start_backend(engine.respond) for _ in range(2)]
    router = start_router({"m": {"urls": [b.url for b in backends], "maxConcurrent": 3}})
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(4)]
        for wire in wires:
            wire.send(post(chat()))
        wait_until_queued(router, 1)
        for _ in wires:
            engine.go_on.release()
        assert [wire.response().status for wire in wires] == [200] * 4
    assert engine.most == 3
