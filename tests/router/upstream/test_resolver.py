"""`resolve`: the addresses of a name are looked up again, and each is a replica."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from llmhop.limits import MAX_REPLICAS
from llmhop.upstream.resolver import Resolver

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.certificates import certified
from tests.router.support.endpoints import (
    Backend,
    LoopThread,
    RunningRouter,
    Wire,
    chat,
    hold,
    post,
    wait_until,
)
from tests.router.support.fakes.names import Names


@pytest.fixture
def engines(loop_thread: LoopThread) -> Iterator[list[Backend]]:
    """Engines on one port of several addresses."""
    first = Backend(loop_thread).start()
    engines = [first]
    for number in (2, 3):
        engines.append(Backend(loop_thread, host=f"127.0.0.{number}", port=first.port).start())
    yield engines
    for engine in engines:
        engine.stop()


def addresses(router: RunningRouter, model: str = "m") -> list[str | None]:
    backend = router.server.models.all()[model]
    return [replica.url.origin.address for replica in backend.replicas]


def look_up(router: RunningRouter) -> None:
    """Look up all names, though their time has not come, and wait for the end of it."""
    resolver: Resolver = router.server.models._resolver

    def begin() -> None:
        for name in resolver._names.values():
            name.due = 0.0
        resolver.sweep(router.thread.loop.time())

    router.thread.call(begin)
    wait_until(lambda: router.thread.call(lambda: not _running(resolver)))


def _running(resolver: Resolver) -> bool:
    return any(name.lookup is not None for name in resolver._names.values())


def model(engine: Backend, **more: Any) -> dict[str, Any]:
    return {"m": {"url": f"http://engines.test:{engine.port}/p", "resolve": 86400, **more}}


def serve(router: RunningRouter, times: int) -> list[int]:
    with Wire(router.port) as wire:
        found = []
        for _ in range(times):
            wire.send(post(chat()))
            found.append(wire.response().status)
    return found


def test_each_address_is_a_replica_with_the_name_s_host_and_path(
    names: Names, engines: list[Backend], start_router: StartRouter
) -> None:
    names["engines.test"] = ["127.0.0.1", "127.0.0.2"]
    router = start_router(model(engines[0]))
    look_up(router)
    assert addresses(router) == ["127.0.0.1", "127.0.0.2"]
    assert serve(router, 4) == [200] * 4
    assert [len(engine.requests) for engine in engines] == [2, 2, 0]
    for request in engines[0].requests + engines[1].requests:
        assert request.line == "POST /p/v1/chat/completions HTTP/1.1"
        assert request.values("host") == [f"engines.test:{engines[0].port}"]


def test_what_is_known_of_addresses_that_stay_is_kept(
    names: Names, engines: list[Backend], start_router: StartRouter
) -> None:
    names["engines.test"] = ["127.0.0.1", "127.0.0.2"]
    router = start_router(model(engines[0]))
    look_up(router)
    kept = router.server.models.all()["m"].replicas[1]
    names["engines.test"] = ["127.0.0.3", "127.0.0.2"]
    look_up(router)
    assert addresses(router) == ["127.0.0.2", "127.0.0.3"]
    assert router.server.models.all()["m"].replicas[0] is kept
    assert serve(router, 4) == [200] * 4
    assert [len(engine.requests) for engine in engines] == [0, 2, 2]


def test_a_request_on_one_connection_follows_a_change(
    names: Names, engines: list[Backend], start_router: StartRouter
) -> None:
    names["engines.test"] = ["127.0.0.1"]
    router = start_router(model(engines[0]))
    look_up(router)
    with Wire(router.port) as wire:
        for number in (1, 2, 3):
            names["engines.test"] = [f"127.0.0.{number}"]
            look_up(router)
            wire.send(post(chat()))
            assert wire.response().status == 200
    assert [len(engine.requests) for engine in engines] == [1, 1, 1]


def test_a_request_under_way_ends_where_it_began(
    names: Names, engines: list[Backend], start_router: StartRouter
) -> None:
    names["engines.test"] = ["127.0.0.1", "127.0.0.2"]
    router = start_router(model(engines[0]))
    look_up(router)
    engines[0].respond = hold
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert engines[0].arrived.acquire(timeout=20)
        names["engines.test"] = ["127.0.0.2", "127.0.0.3"]
        look_up(router)
        assert serve(router, 2) == [200, 200]
        engines[0].drop()
        assert wire.response().error_code in ("backend_error", "backend_unavailable")
    backend = router.server.models.all()["m"]
    assert router.thread.call(lambda: [pool.outstanding for pool in backend.pools]) == [0, 0]


def test_a_name_that_is_not_found_any_more_keeps_its_addresses(
    names: Names,
    engines: list[Backend],
    start_router: StartRouter,
    capfd: pytest.CaptureFixture[str],
) -> None:
    names["engines.test"] = ["127.0.0.1"]
    router = start_router(model(engines[0]))
    look_up(router)
    del names["engines.test"]
    for _ in range(3):
        look_up(router)
    assert addresses(router) == ["127.0.0.1"]
    assert serve(router, 2) == [200, 200]
    assert "the last ones stay" in capfd.readouterr().err


def test_until_it_is_known_and_for_what_is_no_name_the_url_itself_is_the_replica(
    names: Names,
    start_backend: StartBackend,
    start_router: StartRouter,
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine = start_backend()
    urls = [f"http://localhost:{engine.port}", engine.url, "unix:/no/such.sock"]
    router = start_router({"m": {"urls": urls, "resolve": 86400}})
    look_up(router)
    assert addresses(router) == [None, None, None]
    names["localhost"] = ["127.0.0.1"]
    assert serve(router, 4) == [200] * 4
    assert "until they can, the url itself is the replica" in capfd.readouterr().err


def test_without_the_setting_nothing_is_looked_up(
    names: Names, engines: list[Backend], start_router: StartRouter
) -> None:
    names["localhost"] = ["127.0.0.2"]
    router = start_router({"m": f"http://localhost:{engines[0].port}"})
    look_up(router)
    assert addresses(router) == [None]


def test_there_are_never_more_replicas_than_urls_may_be(
    names: Names, start_router: StartRouter
) -> None:
    names["engines.test"] = [f"127.0.1.{n}" for n in range(200)]
    names["more.test"] = names["engines.test"]
    urls = ["http://engines.test", "http://more.test", "http://127.0.0.1:1"]
    router = start_router({"m": {"urls": urls, "resolve": 1}})
    look_up(router)
    assert 3 < len(addresses(router)) <= MAX_REPLICAS
    assert addresses(router)[-1] is None


def test_a_reload_without_the_setting_goes_back_to_the_name(
    names: Names, engines: list[Backend], start_router: StartRouter
) -> None:
    names["localhost"] = ["127.0.0.2"]
    url = f"http://localhost:{engines[0].port}"
    router = start_router({"m": {"url": url, "resolve": 1}})
    look_up(router)
    assert addresses(router) == ["127.0.0.2"]
    router.reload({"models": {"m": {"url": url}}})
    assert addresses(router) == [None]


def test_ready_asks_each_address(
    names: Names, engines: list[Backend], start_router: StartRouter
) -> None:
    names["engines.test"] = ["127.0.0.1", "127.0.0.2"]
    engines[1].stop()
    router = start_router(model(engines[0]))
    look_up(router)
    with Wire(router.port) as wire:
        wire.send(b"GET /ready HTTP/1.1\r\nHost: r\r\n\r\n")
        body = wire.response().body
    assert b'"replicas":[{"status":"up"},{"status":"down"}]' in body
    assert engines[0].requests[0].values("host") == [f"engines.test:{engines[0].port}"]


def test_the_certificate_is_that_of_the_name(
    names: Names,
    loop_thread: LoopThread,
    start_router: StartRouter,
    trusted_authority: trustme.CA,
) -> None:
    good = Backend(loop_thread, tls=certified(trusted_authority, "engines.test")).start()
    other = Backend(
        loop_thread, tls=certified(trusted_authority, "127.0.0.2"), host="127.0.0.2", port=good.port
    ).start()
    names["engines.test"] = ["127.0.0.1", "127.0.0.2"]
    router = start_router({"m": {"url": f"https://engines.test:{good.port}", "resolve": 1}})
    look_up(router)
    assert serve(router, 4) == [200] * 4
    assert len(good.requests) == 4
    good.stop()
    other.stop()


_ADDRESSES = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"]), max_size=4)


@settings(max_examples=50, deadline=None)
@given(st.lists(_ADDRESSES, max_size=10))
def test_the_last_addresses_that_were_found_count(found: list[list[str]]) -> None:
    thread = LoopThread()
    changes = 0

    def changed() -> None:
        nonlocal changes
        changes += 1

    async def run() -> None:
        nonlocal changes
        resolver = Resolver(thread.loop, changed)
        resolver.serve({"x": 1.0})
        known: tuple[str, ...] = ()
        expected = 0
        for now, answer in enumerate(found):
            names["x"] = answer
            resolver.sweep(float(now * 2))
            name = resolver._names["x"]
            assert name.lookup is not None
            resolver.sweep(float(now * 2 + 1))  # one at a time
            await asyncio.wait([name.lookup])
            await asyncio.sleep(0)
            new = tuple(sorted(set(answer)))
            if new and new != known:
                known, expected = new, expected + 1
            assert resolver.addresses("x") == known
            assert changes == expected

    with pytest.MonkeyPatch.context() as patch:
        names = Names(patch)
        try:
            thread.run(run())
        finally:
            thread.stop()
