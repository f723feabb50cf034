"""Upgrades: only to WebSockets, and only where both sides agree."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.router.conftest import StartRouter
from tests.router.support.endpoints import TIMEOUT, Wire, chat, post
from tests.router.support.peer import Peer
from tests.router.support.websocket import AGREE, ASK


async def echo(connection: ServerConnection) -> None:
    """Say what was asked for, then repeat what comes."""
    request = connection.request
    assert request is not None
    offered = sorted(request.headers.get_all("Sec-WebSocket-Protocol"), reverse=True)
    shown = request.headers.get("Authorization")
    await connection.send(" ".join((request.path, str(shown), *offered)))
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def engine() -> AsyncIterator[str]:
    async with serve(echo, "127.0.0.1", 0, subprotocols=[Subprotocol("realtime")]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"


def test_a_real_client_talks_to_a_real_server(start_router: StartRouter) -> None:
    async def talk() -> None:
        async with engine() as url:
            models = {"m": {"url": url, "aliases": ["alias"]}}
            router = await asyncio.to_thread(start_router, {}, models=models)
            base = f"ws://127.0.0.1:{router.port}"
            for path, asked in (
                ("/v1/realtime?model=m", "/v1/realtime?model=m"),
                ("/v1/realtime?model=alias&x=1", "/v1/realtime?model=m&x=1"),
                ("/route/m/any?x", "/any?x"),
            ):
                async with connect(base + path, subprotocols=[Subprotocol("realtime")]) as client:
                    assert client.subprotocol == "realtime"
                    assert await client.recv() == f"{asked} None realtime"
                    for message in ("hello", b"\x00" * 100_000, "x" * 500_000):
                        await client.send(message)
                        assert await client.recv() == message
                    await client.ping()
                assert client.close_code == 1000

    asyncio.run(talk())


def test_tokens_are_asked_for_and_stripped(start_router: StartRouter) -> None:
    async def talk() -> None:
        async with engine() as url:
            router = await asyncio.to_thread(start_router, {"m": url}, authTokens=["right"])
            base = f"ws://127.0.0.1:{router.port}/v1/realtime?model=m"
            headers = {"Authorization": "Bearer right"}
            realtime = [Subprotocol("realtime")]
            async with connect(base, additional_headers=headers, subprotocols=realtime) as client:
                assert await client.recv() == "/v1/realtime?model=m None realtime"
            with pytest.raises(InvalidStatus) as refused:
                await connect(base, additional_headers={"Authorization": "Bearer wrong"})
            assert refused.value.response.status_code == 401

    asyncio.run(talk())


KEY = "openai-insecure-api-key."


@pytest.mark.parametrize(
    ("offered", "status", "passed_on"),
    [
        (
            [f"realtime, {KEY}right, openai-beta.realtime-v1"],
            101,
            ["realtime, openai-beta.realtime-v1"],
        ),
        (["realtime", f"{KEY}right"], 101, ["realtime"]),
        ([f"{KEY}right"], 101, []),
        ([f"realtime, {KEY}wrong"], 401, []),
        ([f"{KEY}right, {KEY}right"], 401, []),
        (["realtime"], 401, []),
    ],
)
def test_a_browser_shows_its_token_as_a_subprotocol_and_it_goes_no_further(
    start_router: StartRouter, offered: list[str], status: int, passed_on: list[str]
) -> None:
    lines = b"".join([b"Sec-WebSocket-Protocol: %b\r\n" % value.encode() for value in offered])
    with Peer() as peer, Wire(start_router({"m": peer.url}, authTokens=["right"]).port) as wire:
        wire.send(ASK.removesuffix(b"\r\n") + lines + b"\r\n")
        if status == 401:
            assert wire.response().status == status
            assert peer.nobody_came()
            return
        link = peer.accept()
        request = link.head()
        assert b"right" not in request
        found = [
            x for x in request.decode().split("\r\n") if x.startswith("Sec-WebSocket-Protocol")
        ]
        assert found == [f"Sec-WebSocket-Protocol: {value}" for value in passed_on]
        link.send(AGREE)
        assert wire.head()[0] == status


def test_a_token_among_the_subprotocols_goes_on_where_llmhop_asks_for_none(
    start_router: StartRouter,
) -> None:
    async def talk() -> None:
        async with engine() as url:
            router = await asyncio.to_thread(start_router, {"m": url})
            offered = [Subprotocol("realtime"), Subprotocol(KEY + "x")]
            base = f"ws://127.0.0.1:{router.port}/v1/realtime?model=m"
            async with connect(base, subprotocols=offered) as client:
                assert client.subprotocol == "realtime"
                assert await client.recv() == f"/v1/realtime?model=m None realtime {KEY}x"

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/realtime", 400), ("/v1/realtime?model=no", 404)]
)
def test_an_upgrade_without_a_known_model_is_refused(
    start_router: StartRouter, path: str, status: int
) -> None:
    async def talk() -> None:
        router = await asyncio.to_thread(start_router, {"m": "http://127.0.0.1:1"})
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{router.port}{path}")
        assert refused.value.response.status_code == status

    asyncio.run(talk())


def test_the_handshake_goes_on_and_then_bytes_in_both_directions(
    start_router: StartRouter,
) -> None:
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(ASK)
        link = peer.accept()
        request = link.head()
        assert request.startswith(b"GET /v1/realtime?model=m HTTP/1.1\r\n")
        for line in (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"):
            assert request.count(b"\r\n%b\r\n" % line) == 1
        link.send(AGREE + b"early")
        status, headers = wire.head()
        assert (status, headers["connection"], headers["upgrade"]) == (101, "Upgrade", "websocket")
        assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert wire.file.read(5) == b"early"
        # What looks like a request or its end is none here.
        for data in (post(chat()), b"\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n"):
            wire.send(data)
            assert link.read(len(data)) == data
            link.send(data)
            assert wire.file.read(len(data)) == data


def test_what_is_sent_ahead_waits_for_the_answer(start_router: StartRouter) -> None:
    ahead = b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n" + b"x" * 300_000
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        sender = threading.Thread(target=wire.send, args=(ASK + ahead,), daemon=True)
        sender.start()
        link = peer.accept()
        link.head()
        link.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            link.socket.recv(1)
        link.socket.settimeout(TIMEOUT)
        link.send(AGREE)
        assert wire.head()[0] == 101
        assert link.read(len(ahead)) == ahead
        sender.join(TIMEOUT)
        wire.send(b"more")
        assert link.read(4) == b"more"


@pytest.mark.parametrize("status", [b"403 Forbidden", b"426 Upgrade Required", b"200 OK"])
def test_another_answer_is_relayed_and_nothing_sent_ahead_becomes_a_request(
    start_router: StartRouter, status: bytes
) -> None:
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(ASK + post(chat()))
        link = peer.accept()
        link.head()
        link.answer(b"no", status)
        response = wire.response()
        assert (response.status, response.body) == (int(status[:3]), b"no")
        assert response.headers["connection"] == "close"
        assert wire.at_end()
        assert peer.nobody_came()
        link.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            link.socket.recv(1)


UNASKED = {
    "no upgrade asked for": post(chat()),
    "h2c": ASK.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
    "one of two": ASK.replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
    "two fields": ASK.replace(b"Upgrade: websocket", b"Upgrade: websocket\r\nUpgrade: h2c"),
    "not named by Connection": ASK.replace(b"Connection: Upgrade\r\n", b""),
    "another method": ASK.replace(b"GET", b"POST", 1).replace(
        b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"
    ),
    "with a body": ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n{}"),
    "HTTP/1.0": ASK.replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("raw", UNASKED.values(), ids=UNASKED.keys())
def test_any_other_upgrade_is_dropped_and_a_101_that_nobody_asked_for_is_a_502(
    start_router: StartRouter, raw: bytes
) -> None:
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(raw)
        link = peer.accept()
        request = link.head().lower()
        assert b"upgrade:" not in request
        assert b"connection:" not in request
        link.send(AGREE)
        assert wire.response().status == 502


@pytest.mark.parametrize(
    "answer",
    [
        AGREE.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        AGREE.replace(b"Upgrade: websocket\r\n", b""),
        AGREE.replace(b"Connection: Upgrade\r\n", b""),
    ],
)
def test_a_101_to_something_else_is_a_502(start_router: StartRouter, answer: bytes) -> None:
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(ASK)
        link = peer.accept()
        link.head()
        link.send(answer)
        assert wire.response().status == 502
        assert link.at_end()
