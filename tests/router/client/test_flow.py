"""Slow and vanishing clients, time limits, reload and drain, on a running router."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import SimpleNamespace

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import (
    HEALTH,
    OK,
    Received,
    Wire,
    ask,
    chat,
    hold,
    post,
    respond_in_two,
    stall,
)

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_slow_client_slows_the_backend_down_and_loses_nothing(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    size, total = 64 * 1024, 64 * 1024 * 1024
    written = 0
    stalled = threading.Event()

    async def flood(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while written < total:
            writer.write(bytes([written // size % 256]) * size)
            written += size
            drained = asyncio.ensure_future(writer.drain())
            done, _ = await asyncio.wait({drained}, timeout=0.5)
            if not done:
                stalled.set()
            await drained

    backend = start_backend(flood)
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert stalled.wait(20), "the backend was never held up"
        # What is on the way is in socket buffers of the kernel, a few megabytes each.
        assert written < total // 2
        (client,) = router.server.clients
        assert client.transport.get_write_buffer_size() < 1024 * 1024
        body = wire.response().body
    assert body == b"".join(bytes([n % 256]) * size for n in range(total // size))


def test_a_client_that_leaves_mid_stream_frees_the_backend(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    # Nothing more is written on either side: only the router can end this.
    backend = start_backend(stall(STREAM_HEAD + b"2\r\nok\r\n"))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.head()[0] == 200
        assert wire.chunk() == b"ok"
    assert backend.gone.acquire(timeout=20)


def test_a_client_that_leaves_before_the_response_frees_the_backend(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(hold)
    router = start_router({"m": backend})
    for leave in ("close", "half-close", "reset"):
        with Wire(router.port) as wire:
            wire.send(post(chat()))
            assert backend.arrived.acquire(timeout=20)
            if leave == "half-close":
                wire.socket.shutdown(socket.SHUT_WR)
                assert backend.gone.acquire(timeout=20), leave
                continue
            if leave == "reset":
                on_for_no_time = b"\x01\0\0\0\0\0\0\0"
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on_for_no_time)
        assert backend.gone.acquire(timeout=20), leave


def test_a_client_that_leaves_while_the_router_connects_leaves_nothing_behind(
    start_router: StartRouter,
) -> None:
    # A listener whose queue is full: connecting to it hangs.
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = full.getsockname()[1]
    fillers = [socket.socket() for _ in range(8)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    router = start_router({"m": f"http://127.0.0.1:{port}"})

    async def tasks(wanted: bool) -> None:
        # Besides this one, the thread's own task is all that is left.
        while (len(asyncio.all_tasks()) > 2) is not wanted:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.01)

    with Wire(router.port) as wire:
        wire.send(post(chat()))
        router.thread.run(tasks(wanted=True))
    router.thread.run(tasks(wanted=False))
    assert not router.server.clients
    for opened in (full, *fillers):
        opened.close()


def test_a_head_that_does_not_end_in_time_is_refused(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"})
    with Wire(router.port) as wire:
        wire.send(HEALTH + HEALTH[:10])
        assert wire.response().status == 200
        router.sweep_after(8)
        wire.send(HEALTH[10:] + HEALTH[:10])
        assert wire.response().status == 200
        router.sweep_after(12)
        response = wire.response()
        assert (response.status, response.error_code) == (408, "timeout")
        assert wire.at_end()


def test_a_body_that_stalls_is_refused(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"})
    with Wire(router.port) as wire:
        # The answer to Expect shows that the head was read.
        wire.send(post(chat(), "/v1/x", "Expect: 100-continue")[: -len(chat())])
        assert wire.head()[0] == 100
        router.sweep_after(55)
        wire.send(chat()[:-1])
        router.sweep_after(65)
        assert wire.response().status == 408
        assert wire.at_end()


def test_an_idle_client_is_closed_without_a_word(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"})
    with Wire(router.port) as wire:
        wire.send(HEALTH)
        assert wire.response().status == 200
        router.sweep_after(70)
        wire.send(HEALTH)
        assert wire.response().status == 200
        router.sweep_after(70 + 80)
        router.sweep_after(70 + 150)  # its kernel may acknowledge that response only now
        assert wire.at_end()


def test_a_reload_changes_new_requests_and_no_running_stream(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    go_on = threading.Event()

    stream = respond_in_two(STREAM_HEAD + b"3\r\nold\r\n", go_on, b"3\r\nend\r\n0\r\n\r\n")
    old, new = start_backend(stream), start_backend()
    router = start_router({"m": old})
    with Wire(router.port) as streaming, Wire(router.port) as other:
        streaming.send(post(chat()))
        assert streaming.head()[0] == 200
        assert streaming.chunk() == b"old"
        router.reload({"models": {"m": {"url": new.url}, "n": {"url": new.url}}})
        for model in ("m", "n"):
            other.send(post(chat(model)))
            assert other.response().body == chat(model)
        go_on.set()
        assert streaming.chunk() == b"end"
        assert streaming.chunk() == b""
        # The same connection is routed by the new config now, and the old backend is let go.
        streaming.send(post(chat("n")))
        assert streaming.response().body == chat("n")
        assert old.gone.acquire(timeout=20)
    assert [len(old.requests), len(new.requests)] == [1, 3]


def test_a_reload_keeps_the_rules_of_a_request_that_has_begun(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, authTokens=["right"])
    fields = ("Authorization: Bearer right", "Expect: 100-continue")
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", *fields)[: -len(chat())])
        assert wire.head()[0] == 100
        router.reload({"models": {"n": {"url": "http://127.0.0.1:1"}}})
        wire.send(chat())
        assert wire.response().status == 200
        wire.send(post(chat()))
        assert wire.response().status == 404
    assert backend.requests[0].values("authorization") == [], "the token is still taken off"


def test_draining_ends_requests_first_and_connections_then(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    go_on = threading.Event()

    async def think(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(go_on.wait)
        writer.write(OK)

    backend = start_backend(think)
    router = start_router({"m": backend})
    with Wire(router.port) as idle, Wire(router.port) as busy:
        idle.send(HEALTH)
        assert idle.response().status == 200
        busy.send(post(chat()))
        assert backend.arrived.acquire(timeout=20)
        drained = asyncio.run_coroutine_threadsafe(router.server.drain(60), router.thread.loop)
        assert idle.at_end()
        assert not drained.done()
        go_on.set()
        response = busy.response()
        assert response.body == b"ok"
        assert response.headers["connection"] == "close"
        assert busy.at_end()
        drained.result(20)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("llmhop.process.server", "RoutingTable"),
        ("server.models", "serve"),
        ("llmhop.process.server", "_share"),
        ("server", "_limit_connections"),
        ("server.observer", "change_log"),
    ],
)
def test_a_reload_that_fails_anywhere_leaves_the_routes_as_they_were(
    owner: str,
    name: str,
    start_router: StartRouter,
    start_backend: StartBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    server = router.server
    before = server.config, server.table

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    new = {"models": {"n": {"url": backend.url}}}
    with monkeypatch.context() as patch:
        if owner in ("server.models", "server.observer"):
            patch.setattr(server, owner.partition(".")[2], SimpleNamespace(**{name: fail}))
        elif owner == "server":
            patch.setattr(server, name, fail)
        else:
            patch.setattr(f"{owner}.{name}", fail)
        with pytest.raises(ZeroDivisionError):
            router.reload(new)
    assert (server.config, server.table) == before

    def status(model: str) -> int:
        return ask(router.port, post(chat(model))).status

    assert (status("m"), status("n")) == (200, 404)
    router.reload(new)
    assert (status("m"), status("n")) == (404, 200)
