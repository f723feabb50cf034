"""One connection does not keep others from their turn: counted in turns of the event loop."""

from __future__ import annotations

import asyncio

import pytest
from llmhop.client_protocol import ClientProtocol
from llmhop.limits import MAX_BYTES_A_TURN, MAX_REQUESTS_A_TURN

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support import RunningRouter, Wire, chat, post

GET = b"GET %b HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer %b\r\n\r\n"
REQUESTS = {
    "no token": GET % (b"/v1/models", b"no"),
    "answered here": GET % (b"/v1/models", b"token"),
    "no model": post(b"{}", "/v1/x", "Authorization: Bearer token"),
    "unknown model": post(chat("x"), "/v1/x", "Authorization: Bearer token"),
}


class Transport(asyncio.Transport):
    """A client that takes all answers; reading pauses at once, unlike that of a real one."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.answers = 0
        self.reads = True

    def write(self, data: object) -> None:
        self.answers += 1

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return False


def feed(router: RunningRouter, pieces: list[bytes], total: int) -> int:
    """Feed a connection a piece a turn while it reads; return the most answers of a turn."""

    async def work() -> int:
        transport = Transport()
        client = ClientProtocol(router.server)
        client.connection_made(transport)
        most = 0
        while transport.answers < total:
            before = transport.answers
            if pieces and transport.reads:
                client.data_received(pieces.pop(0))
            await asyncio.sleep(0)
            most = max(most, transport.answers - before)
        client.connection_lost(None)
        return most

    return router.thread.run(work())


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("size", [0, 100, 5_000])
def test_a_pipeline_is_answered_a_few_requests_at_a_time(
    request_: bytes, size: int, start_router: StartRouter
) -> None:
    router = start_router({"m": "http://127.0.0.1:9"}, authTokens=["token"])
    raw = request_ * 500
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)] if size else [raw]
    most = feed(router, pieces, 500)
    # Those of a piece, those left from before, and to each one whose head was read already.
    assert most <= 2 * (MAX_REQUESTS_A_TURN + 1)
    assert pieces == []


def test_a_full_read_is_the_last_one_of_a_turn(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:9"})
    head = b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def work() -> None:
        transport = Transport()
        client = ClientProtocol(router.server)
        client.connection_made(transport)
        client.data_received(head)
        for _ in range(3):
            client.data_received(b"1\r\n \r\n" * (MAX_BYTES_A_TURN // 6 + 1))
            assert not transport.reads
            await asyncio.sleep(0)
            assert transport.reads
        client.data_received(b"1\r\n \r\n" * 10)
        assert transport.reads
        client.connection_lost(None)

    router.thread.run(work())


def test_a_full_read_does_not_end_another_pause(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:9"})

    async def work() -> None:
        transport = Transport()
        client = ClientProtocol(router.server)
        client.connection_made(transport)
        client.pause_writing()  # the client reads nothing, so what it sends has to wait
        client.data_received(GET % (b"/health", b"") * 4_000)
        client.data_received(GET % (b"/health", b""))
        await asyncio.sleep(0)
        assert (transport.answers, transport.reads) == (0, False)
        client.connection_lost(None)

    router.thread.run(work())


def test_what_goes_on_later_is_answered_in_order(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend()})
    health = b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n"
    with Wire(router.port) as wire:
        wire.send((health * (3 * MAX_REQUESTS_A_TURN) + post(chat())) * 20)
        for _ in range(20):
            for _ in range(3 * MAX_REQUESTS_A_TURN):
                assert wire.response().body == b'{"status":"ok"}'
            assert wire.response().body == chat()
