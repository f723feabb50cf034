"""Bodies that are read straight into the memory they are sent from."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest
from llmhop.client.body_intake import BodyIntake
from llmhop.client.work_queue import WorkQueue
from llmhop.http.body.large_body import LARGE_BYTES, PIECE_BYTES, LargeBody, ScannedBody
from llmhop.http.request_reader import RequestReader

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import Wire, chat, post

SIZES = [LARGE_BYTES, LARGE_BYTES + 1, 256 * 1024, 256 * 1024 + 1, 1024 * 1024 + 1, 5_000_000]


def large_chat(size: int) -> bytes:
    """A chat request of `size` bytes, `model` last, each part of it another one."""
    end = b'"}],"model":"m"}'
    start = b'{"messages":[{"role":"user","content":"'
    text = random.Random(size).randbytes(size // 2 + 1).hex().encode()  # noqa: S311 - not a secret
    return start + text[: size - len(start) - len(end)] + end


@pytest.mark.parametrize("size", SIZES)
def test_a_large_body_is_relayed_whole_and_the_next_request_found(
    size: int, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    body = large_chat(size)
    with Wire(router.port) as wire:
        for _ in range(2):
            wire.send(post(body) + post(chat(), "/next"))
            assert wire.response().body == body
            assert wire.response().body == chat()
    assert [len(request.body) for request in backend.requests] == [size, len(chat())] * 2


def test_large_bodies_at_the_same_time_do_not_mix(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    bodies = [large_chat(300_000 + n) for n in range(6)]
    wires = [Wire(router.port) for _ in bodies]
    for part in range(3):
        for wire, body in zip(wires, bodies, strict=True):
            wire.send(post(body)[part * 110_000 : (part + 1) * 110_000])
    for wire, body in zip(wires, bodies, strict=True):
        assert wire.response().body == body
        wire.close()


def test_a_client_that_leaves_within_a_large_body_leaves_nothing_behind(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(large_chat(500_000))[:300_000])
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.response().body == chat()
        assert len(router.server.clients) == 1
    assert len(backend.requests) == 1


def test_a_large_body_that_stops_coming_is_refused(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend()})
    with Wire(router.port) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
        assert wire.response().status == 200
        wire.send(post(large_chat(500_000))[:300_000])
        with Wire(router.port) as other:
            other.send(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
            assert other.response().status == 200
        for seconds in (21, 42):  # enough came for the first of these times
            router.sweep_after(seconds)
        assert wire.response().status == 408
        wire.send(b"x" * 300_000)
        wire.socket.shutdown(1)
        assert wire.at_end()


def test_a_large_body_is_neither_moved_nor_joined() -> None:
    body = LargeBody(3_000_000)
    spaces = []
    while not body.complete:
        spaces.append(body.space())
        body.filled(len(spaces[-1]))
    taken = body.take()
    assert isinstance(taken, ScannedBody)
    parts = taken.parts
    assert {id(part.obj) for part in parts if isinstance(part, memoryview)} == {
        id(space.obj) for space in spaces
    }


def test_others_have_their_turn_while_a_large_body_comes_in() -> None:
    class Transport:
        paused = False

        def pause_reading(self) -> None:
            self.paused = True

        def resume_reading(self) -> None:
            self.paused = False

        def get_protocol(self) -> object:
            return intake

        def is_closing(self) -> bool:
            return False

    class Client:
        transport = cast(asyncio.Transport, Transport())

        def defer_reading(self) -> None:
            self.transport.pause_reading()

        def resume_deferred(self) -> None:
            self.transport.resume_reading()

        def body_received(self, _: int, complete: bool) -> None:
            assert not (complete and self.transport.paused)  # type: ignore[attr-defined]

    body = LargeBody(10_000_000)
    work = WorkQueue(lambda job: asyncio.get_running_loop().call_soon(job), lambda: 0.0)
    intake = BodyIntake(cast(Any, Client()), body, work)

    async def receive() -> int:
        turns = taken = 0
        while not body.complete:
            if Client.transport.paused:  # type: ignore[attr-defined]
                assert taken < 3 * PIECE_BYTES
                taken = 0
                turns += 1
                await asyncio.sleep(0)
                continue
            size = len(intake.get_buffer(-1))
            taken += size
            intake.buffer_updated(size)
        return turns

    assert asyncio.run(receive()) >= 10_000_000 // (2 * PIECE_BYTES)


def test_memory_in_use_is_not_given_to_another_body() -> None:
    first = LargeBody(100_000)
    first.add(memoryview(b"a" * 100_000))
    body = first.take()
    del first
    others = [LargeBody(100_000) for _ in range(50)]
    for other in others:
        other.add(memoryview(b"b" * 100_000))
    assert bytes(body) == b"a" * 100_000
    assert [bytes(other.take()) for other in others] == [b"b" * 100_000] * 50


def test_memory_is_used_again_when_nothing_refers_to_it() -> None:
    def address() -> int:
        body = LargeBody(100_000)
        body.add(memoryview(b"x" * 100_000))
        part = body.take()
        assert isinstance(part, memoryview)
        return id(part.obj)

    assert len({address() for _ in range(100)}) <= 32  # as many as are kept


@pytest.mark.parametrize("size", SIZES[:4])
@pytest.mark.parametrize("piece", [1_000, 65_536, 300_000])
def test_a_large_body_is_the_same_in_any_pieces(size: int, piece: int) -> None:
    body = large_chat(size)
    raw = post(body) + post(chat(), "/next")
    reader = RequestReader()
    head, found = None, []
    for at in range(0, len(raw), piece):
        reader.feed(raw[at : at + piece])
        while head is not None or (head := reader.read_head()) is not None:
            reader.start_body(head, size)
            if (got := reader.read_body()) is None:
                break
            found.append((head.target, bytes(got)))
            head = None
    assert found == [(b"/v1/chat/completions", body), (b"/next", chat())]


@pytest.mark.parametrize("length", [*SIZES, 100_000_000])
@pytest.mark.parametrize("step", [1, 1460, 17_000, 65_536, 262_144])
def test_memory_is_taken_as_a_body_comes_and_not_as_it_is_announced(length: int, step: int) -> None:
    body = LargeBody(length)
    taken: dict[int, int] = {}
    arrays = []  # held, so that none is used again
    while body.size < min(length, 3_000_000):
        space = body.space()
        arrays.append(space)
        taken[id(space.obj)] = len(cast(bytearray, space.obj))
        body.filled(min(step, len(space)))
        assert sum(taken.values()) <= 16 * 1024 + 5 * body.size
        if step == 1 and body.size > 20_000:
            break
