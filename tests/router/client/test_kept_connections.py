"""Connections that no request needs: who takes them over, and what they take from nobody."""

from __future__ import annotations

import errno
from functools import partial

import pytest
from llmhop.limits import READY_AT_ONCE

from tests.router.conftest import StartFake
from tests.router.support.endpoints import OK, chat, check, post
from tests.router.support.fakes.network import FakeTransport
from tests.router.support.fakes.router import FakeRouter, statuses

NAMES = "abcd"
MODELS = {name: {"url": f"http://192.0.2.{place}"} for place, name in enumerate(NAMES, 1)}
TWO = {"m": {"urls": ["http://192.0.2.1", "http://192.0.2.2"]}}


def asks(router: FakeRouter, model: str = "m") -> FakeTransport:
    client = router.client()
    router.send(client, post(chat(model)))
    return client


def leaves(router: FakeRouter, client: FakeTransport) -> None:
    router.event(client.peer_resets)


def open_now(router: FakeRouter) -> int:
    """How many descriptors are taken by connections to backends, made or being made."""
    return sum(not t.lost for t in router.loop.backends) + len(router.loop.connecting)


# Attempts whose client left.


def test_a_young_attempt_serves_the_next_request(start_fake: StartFake) -> None:
    router = start_fake()
    leaves(router, asks(router))
    router.sweep(0.9)
    client = asks(router)
    assert len(router.loop.connecting) == 1, "it is taken over"
    router.answer(router.backend(), b"ok")
    assert statuses(client) == [200]


def test_the_youngest_of_several_attempts_is_taken_over(start_fake: StartFake) -> None:
    router = start_fake(models={"m": {"url": "http://192.0.2.1"}})
    first = asks(router)
    router.sweep(0.6)
    second = asks(router)
    for client in (first, second):
        leaves(router, client)
    router.sweep(0.2)
    client = asks(router)
    assert len(router.loop.connecting) == 2
    router.event(lambda: router.loop.connecting[1].set_result(None))
    router.answer(router.loop.backends[0], b"ok")
    assert statuses(client) == [200]


def test_no_request_waits_for_an_attempt_that_is_old(start_fake: StartFake) -> None:
    """Its SYN may be lost, and its time is nearly over."""
    router = start_fake(models={"m": {"url": "http://192.0.2.1", "connectTimeout": 5}})
    leaves(router, asks(router))
    router.wait(4)
    client = asks(router)
    assert len(router.loop.connecting) == 2
    router.wait(3)
    assert statuses(client) == [], "it has a time of its own"
    router.event(lambda: router.loop.connecting[0].set_result(None))
    router.answer(router.loop.backends[0], b"ok")
    assert statuses(client) == [200]


# What this host lacks.


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
@pytest.mark.parametrize("left", [False, True])
def test_what_this_host_lacks_is_no_news_of_a_backend(
    code: int, left: bool, start_fake: StartFake
) -> None:
    router = start_fake(models=TWO)
    client = asks(router)
    if left:
        leaves(router, client)
    router.event(lambda: router.loop.connecting[0].set_exception(OSError(code, "none left")))
    assert not any(r.ejected for r in router.server.models.all()["m"].replicas)
    assert not router.loop.connecting, "another replica takes as much"
    if not left:
        assert statuses(client) == [503]
        assert b'"code":"overloaded"' in client.sent
        assert b"Retry-After: 1\r\n" in client.sent


def test_what_a_backend_refuses_is_news_of_it(start_fake: StartFake) -> None:
    router = start_fake(models=TWO)
    client = asks(router)
    error = ConnectionRefusedError(errno.ECONNREFUSED, "no")
    router.event(lambda: router.loop.connecting[0].set_exception(error))
    assert sum(r.ejected for r in router.server.models.all()["m"].replicas) == 1
    router.answer(router.backend(), b"ok")
    assert statuses(client) == [200]


# How many there may be.


def test_idle_connections_make_room_for_those_that_are_needed(start_fake: StartFake) -> None:
    router = start_fake(models=MODELS)
    router.server.pools.limit = 3
    for model in NAMES[:3]:
        asks(router, model)
        router.answer(router.backend(), b"ok")
        router.sweep(0.1)
    first, second, third = router.loop.backends
    waiting = [asks(router, "d") for _ in range(3)]
    assert open_now(router) == 3
    for client in waiting:
        assert statuses(client) == []
    assert [first.lost, second.lost, third.lost] == [True] * 3


def test_the_oldest_goes_first_whatever_it_is(start_fake: StartFake) -> None:
    router = start_fake(models=MODELS)
    router.server.pools.limit = 3
    asks(router, "a")
    router.answer(router.backend(), b"ok")
    router.sweep(0.1)
    leaves(router, asks(router, "b"))
    router.sweep(0.1)
    asks(router, "c")
    router.event(lambda: router.loop.connecting[1].set_result(None))
    idle, later = router.loop.backends
    router.answer(later, b"ok")
    asks(router, "d")
    assert [idle.lost, later.lost, len(router.loop.connecting)] == [True, False, 2]
    asks(router, "d")
    assert [idle.lost, later.lost, len(router.loop.connecting)] == [True, False, 2]
    assert router.server.pools.get(router.server.config.models["b"].urls[0].origin).kept == 0


def test_attempts_of_clients_that_left_are_no_more_than_may_be(start_fake: StartFake) -> None:
    router = start_fake(models=MODELS)
    router.server.pools.limit = 5
    for model in NAMES * 5:
        clients = [asks(router, model) for _ in range(3)]
        for client in clients:
            leaves(router, client)
        assert open_now(router) <= 5
        router.sweep(1.1)
    client = asks(router, "a")
    router.answer(router.backend(), b"ok")
    assert statuses(client) == [200]


def test_requests_of_an_origin_that_a_reload_took_away_count(start_fake: StartFake) -> None:
    limited = {"m": {"url": "http://192.0.2.1", "maxConcurrent": 2}}
    router = start_fake(models=limited)
    for _ in range(3):
        asks(router)
    router.event(router.connect)
    router.event(lambda: router.server.reload(check({"models": MODELS, "accessLog": "off"})))
    router.server.pools.limit = 4
    router.sweep(1)
    router.answer(router.loop.backends[0], b"ok")  # the next in the queue goes on
    router.event(router.connect)
    for model in "abc":
        asks(router, model)
        router.answer(router.backend(), b"ok")
        assert open_now(router) <= 4


def test_ready_asks_some_backends_at_a_time(start_fake: StartFake) -> None:
    router = start_fake(models={f"m{n}": {"url": f"http://192.0.2.{n + 1}"} for n in range(100)})
    client = router.client()
    router.send(client, b"GET /ready HTTP/1.1\r\nHost: r\r\n\r\n")
    rounds = 0
    while not statuses(client):
        rounds += 1
        assert 0 < open_now(router) <= READY_AT_ONCE
        router.event(router.connect)
        for backend in [b for b in router.loop.backends if not b.lost]:
            router.event(partial(backend.peer_sends, OK))
    assert statuses(client) == [200]
    assert rounds == 4
