"""Responses made to confuse: a client gets one whole answer of its own, or sees that it has none.

The router is a process of its own; response_corpus says what a backend sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fuzz.reading import pieces_of
from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.responses import CHUNKED, RESPONSES, TWO, Case
from tests.router.support.endpoints import OWN, Backend, LoopThread, Received, Wire, chat, post
from tests.router.support.process import Process

NEXT = TWO + b"X-Next: 1\r\n\r\nok"


@dataclass
class Ground:
    """A router, and a backend that answers by the path it is asked for."""

    thread: LoopThread
    port: int = 0
    case: Case = RESPONSES["a length"]
    piece: int = 0
    seen: threading.Event = field(default_factory=threading.Event)

    async def respond(self, request: Received, writer: asyncio.StreamWriter) -> None:
        if request.line.split()[1] == "/next":
            writer.write(NEXT)
            return
        for piece in pieces_of(self.case.raw, self.piece):
            writer.write(piece)
            await writer.drain()
            # The other side's loop gets a turn, so that pieces mostly come apart.
            await asyncio.sleep(0)
        if self.case.later:
            await asyncio.to_thread(self.seen.wait)
            writer.write(self.case.later)
            await writer.drain()
        if self.case.closes:
            writer.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ground, Backend]]:
    thread = LoopThread()
    ground = Ground(thread)
    backend = Backend(thread, ground.respond).start()
    directory: Path = tmp_path_factory.mktemp("hostile")
    config = {**OWN, "models": {"m": {"url": backend.url}}}
    process = Process(directory, config, {})
    ground.port = process.port
    yield ground, backend
    process.end()
    backend.stop()
    thread.stop()


def ask(method: str, path: str) -> bytes:
    return post(chat(), path).replace(b"POST", method.encode(), 1)


# What drips in behind a response that is whole may as well be the answer to the next request; and
# a body that breaks later breaks off an answer that has begun.
DRIPPED = [name for name, case in RESPONSES.items() if case.reused or case.closes or case.cut]
DRIPPED.remove("a broken chunk at once")
WAYS = [(name, 0) for name in RESPONSES] + [(name, 1) for name in DRIPPED]


@pytest.mark.parametrize(
    ("name", "piece"), WAYS, ids=[name + (", dripping" if piece else "") for name, piece in WAYS]
)
def test_a_client_gets_a_whole_answer_of_its_own_or_sees_that_it_has_none(
    name: str, piece: int, running: tuple[Ground, Backend]
) -> None:
    ground, backend = running
    case = RESPONSES[name]
    if piece and len(case.raw) > 1_000:
        piece = 512
    ground.case, ground.piece = case, piece
    ground.seen.clear()
    backend.requests.clear()
    with Wire(ground.port) as wire:
        wire.send(ask(case.method, "/case") + ask("POST", "/next"))
        if case.cut:
            status, headers = wire.head()
            ground.seen.set()
            assert (status, wire.file.read()) == (200, case.body), "no end is made up"
            assert not (headers.keys() >= {"content-length", "transfer-encoding"})
        else:
            answer = wire.response(to_head=case.method == "HEAD")
            while answer.status < 200:
                answer = wire.response()
            assert answer.status == case.status
            if case.status == 502:
                assert answer.error["type"] == "server_error"
            else:
                assert answer.body == case.body
            if answer.headers.get("connection") == "close":
                assert wire.at_end()
            else:
                assert wire.response().headers["x-next"] == "1", "the next answer is another's"
                first, second = backend.requests
                assert (first.reader is second.reader) == case.reused
    with Wire(ground.port) as wire:
        wire.send(ask("POST", "/next"))
        assert wire.response().headers["x-next"] == "1"


def test_a_response_that_comes_before_the_request_was_sent_ends_the_connection(
    loop_thread: LoopThread, start_router: StartRouter
) -> None:
    connections: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Reads the head and no more than what comes with it, so the body stays with the router.
        connections.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(TWO + b"\r\nno" if len(connections) == 1 else NEXT)
        await writer.drain()
        if len(connections) == 1:
            with contextlib.suppress(ConnectionError):
                await left.wait()
        writer.close()

    async def start() -> tuple[asyncio.Server, asyncio.Event]:
        return await asyncio.start_server(serve, "127.0.0.1", 0, limit=4096), asyncio.Event()

    server, left = loop_thread.run(start())
    router = start_router({"m": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
    with Wire(router.port) as wire:
        wire.send(post(chat() + b" " * 30_000_000))
        assert wire.response().body == b"no"
        wire.send(post(chat(), "/next"))
        assert wire.response().headers["x-next"] == "1"
    assert [head.split()[1] for head in connections] == [b"/v1/chat/completions", b"/next"]
    loop_thread.call(left.set)
    loop_thread.call(server.close)


def test_a_backend_that_resets_its_stream_resets_nobody_elses(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    go_on = threading.Event()

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"2\r\nok\r\n")
        await writer.drain()
        await asyncio.to_thread(go_on.wait)
        if request.line.split()[1] == "/reset":
            at_once = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            writer.transport.abort()
        else:
            writer.write(b"0\r\n\r\n")

    router = start_router({"m": start_backend(respond)})
    with Wire(router.port) as reset, Wire(router.port) as other:
        reset.send(post(chat(), "/reset"))
        other.send(post(chat(), "/other"))
        for wire in (reset, other):
            assert wire.head()[0] == 200
            assert wire.chunk() == b"ok"
        go_on.set()
        assert reset.at_end()
        assert other.chunk() == b""
