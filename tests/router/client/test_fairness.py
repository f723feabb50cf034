"""One connection does not hold up others: counted in passes of the event loop."""

from __future__ import annotations

import asyncio

import pytest
from llmhop.client.connection import ClientConnection
from llmhop.client.work_queue import WorkQueue
from llmhop.limits import MAX_BYTES_PER_PASS, MAX_CHUNKS_PER_PASS, MAX_REQUESTS_PER_PASS

from tests.router.conftest import StartBackend, StartFake, StartRouter
from tests.router.support.corpus.responses import CHUNKED
from tests.router.support.endpoints import RunningRouter, Wire, chat, post
from tests.router.support.fakes.network import READ_BYTES, FakeTransport
from tests.router.support.fakes.router import FakeRouter, statuses

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


def connected(router: RunningRouter, transport: Transport) -> ClientConnection:
    """A client of a router whose work takes no time, so that none of it waits for that."""
    router.server.work = WorkQueue(asyncio.get_running_loop().call_soon, lambda: 0.0)
    client = ClientConnection(router.server)
    client.connection_made(transport)
    return client


def feed(router: RunningRouter, pieces: list[bytes], total: int) -> int:
    """Feed a connection a piece a pass while it reads; return the most answers of a pass."""

    async def work() -> int:
        transport = Transport()
        client = connected(router, transport)
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
    assert most <= 2 * (MAX_REQUESTS_PER_PASS + 1)
    assert pieces == []


CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n'
FORM = CHUNKED_POST.replace(
    b"\r\n\r\n", b"\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
)
FORM += b"%x\r\n%b\r\n" % (len(PART), PART)


def test_a_full_read_is_the_last_one_of_a_pass(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:9"})

    async def work() -> None:
        transport = Transport()
        client = connected(router, transport)
        client.data_received(CHUNKED_POST)
        for _ in range(3):
            client.data_received(
                b"400\r\n%b\r\n" % (b" " * 1024) * (MAX_BYTES_PER_PASS // 1024 + 1)
            )
            assert not transport.reads
            await asyncio.sleep(0)
            assert transport.reads
        client.data_received(b"1\r\n \r\n" * 10)
        assert transport.reads
        client.connection_lost(None)

    router.thread.run(work())


@pytest.mark.parametrize("head", [CHUNKED_POST, FORM], ids=["a body", "a form"])
@pytest.mark.parametrize(
    "chunk", [b"1\r\nx\r\n", b"01\r\nx\r\n", b"1;a\r\nx\r\n", b"10\r\n%b\r\n" % (b"x" * 16)]
)
def test_many_chunks_are_read_some_at_a_time(
    head: bytes, chunk: bytes, start_router: StartRouter
) -> None:
    router = start_router({"m": "http://127.0.0.1:9"})
    count = 5 * MAX_CHUNKS_PER_PASS

    async def work() -> None:
        transport = Transport()
        client = connected(router, transport)
        client.data_received(head)
        left = count * len(chunk)
        client.data_received(chunk * count)
        for _ in range(4):
            pending = len(client._session.incoming.reader.pending)
            assert left - pending <= 1.2 * MAX_CHUNKS_PER_PASS * len(chunk)
            assert not transport.reads
            left = pending
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (transport.answers, transport.reads) == (0, True)
        assert not client._session.incoming.reader.pending
        client.connection_lost(None)

    router.thread.run(work())


def test_a_form_is_not_read_on_for_a_client_that_left(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:9"})

    class LeavingTransport(Transport):
        has_left = False

        def is_closing(self) -> bool:
            return self.has_left

    async def work() -> None:
        transport = LeavingTransport()
        client = connected(router, transport)
        client.data_received(FORM + b"1\r\nx\r\n" * 40_000)
        pending = len(client._session.incoming.reader.pending)
        assert pending > 0
        transport.has_left = True
        client.connection_lost(None)
        await asyncio.sleep(0)
        assert len(client._session.incoming.reader.pending) == pending

    router.thread.run(work())


def test_a_request_of_many_chunks_is_relayed_and_the_next_one_found(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend()})
    body = chat() + b" " * (3 * MAX_CHUNKS_PER_PASS)
    with Wire(router.port) as wire:
        wire.send(CHUNKED_POST + b"".join([b"01\r\n%c\r\n" % byte for byte in body]) + b"0\r\n\r\n")
        assert wire.response().body == body
        wire.send(post(chat()))
        assert wire.response().body == chat()


def test_a_full_read_does_not_end_another_pause(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:9"})

    async def work() -> None:
        transport = Transport()
        client = connected(router, transport)
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
        wire.send((health * (3 * MAX_REQUESTS_PER_PASS) + post(chat())) * 20)
        for _ in range(20):
            for _ in range(3 * MAX_REQUESTS_PER_PASS):
                assert wire.response().body == b'{"status":"ok"}'
            assert wire.response().body == chat()


CHUNKS = {
    "plain": b"1\r\nx\r\n",
    "with extensions": b"1;a=b\r\nx\r\n",
    "with zeros": b"001\r\nx\r\n",
    "large": b"1000;x\r\n" + b"y" * 4096 + b"\r\n",
}
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
RESPONSES = {"of known length": COUNTED % 10**6 + b"y" * 10**6} | {
    f"of {name} chunks": CHUNKED + chunk * (10**6 // len(chunk)) + b"0\r\n\r\n"
    for name, chunk in CHUNKS.items()
}


def respond(start_fake: StartFake, room: int = 10**9) -> tuple[FakeRouter, FakeTransport]:
    """Have a client of so much room ask for something; return its backend too."""
    router = start_fake()
    router.send(router.client(room), post(chat()))
    backend = router.backend()
    router.event(lambda: backend.peer_reads(10**6))
    return router, backend


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES.keys())
def test_one_full_read_of_a_response_is_relayed_in_a_pass(
    response: bytes, start_fake: StartFake
) -> None:
    router, backend = respond(start_fake)
    (client,) = router.clients
    backend.incoming += response
    left = []

    def read() -> None:
        backend.deliver()
        left.append(len(backend.incoming))
        assert backend.reading == (not backend.incoming)

    while backend.incoming:
        router.loop.call_soon(read)
        router.loop.settle()
        assert backend.reading
    assert left == [*range(len(response) - READ_BYTES, 0, -READ_BYTES), 0]
    assert client.sent.endswith(response[-1000:])
    assert len(client.sent) > len(response)


@pytest.mark.parametrize(("size", "rests"), [(MAX_BYTES_PER_PASS - 1, False), (READ_BYTES, True)])
def test_a_connection_rests_after_a_full_read(
    size: int, rests: bool, start_fake: StartFake
) -> None:
    router, backend = respond(start_fake)

    def act() -> None:
        backend.peer_sends(COUNTED % 10**6)
        backend.peer_sends(b"y" * size)
        assert backend.reading != rests

    router.event(act)
    assert backend.reading


def test_the_end_of_a_rest_does_not_end_the_clients_pause(start_fake: StartFake) -> None:
    router, backend = respond(start_fake, room=0)
    (client,) = router.clients
    router.event(lambda: backend.peer_sends(COUNTED % 10**6 + b"y" * READ_BYTES))
    assert not backend.reading
    router.event(lambda: client.peer_reads(10**9))
    assert backend.reading


def test_the_end_of_the_clients_pause_does_not_end_a_rest(start_fake: StartFake) -> None:
    router, backend = respond(start_fake, room=0)
    (client,) = router.clients

    def act() -> None:
        backend.peer_sends(COUNTED % 10**6 + b"y" * READ_BYTES)
        client.peer_reads(10**9)
        assert not backend.reading

    router.event(act)
    assert backend.reading


def test_a_response_that_ends_in_a_full_read_leaves_the_connection_idle(
    start_fake: StartFake,
) -> None:
    router, backend = respond(start_fake, room=0)
    (client,) = router.clients
    response = COUNTED % MAX_BYTES_PER_PASS + b"y" * MAX_BYTES_PER_PASS

    def act() -> None:
        backend.peer_sends(response)
        assert backend.reading
        client.peer_reads(10**9)

    router.event(act)
    for _ in range(3):
        router.send(client, post(chat()))
        assert router.backend() is backend
        router.event(lambda: backend.peer_sends(response))
        assert backend.reading
        assert not backend.is_closing()
    assert len(statuses(client)) == 4


def test_a_backend_that_goes_while_it_rests_is_noticed(start_fake: StartFake) -> None:
    router, backend = respond(start_fake)
    (client,) = router.clients

    def act() -> None:
        backend.peer_sends(COUNTED % 10**6 + b"y" * READ_BYTES)
        backend.peer_resets()

    router.event(act)
    assert backend.lost
    assert client.lost
