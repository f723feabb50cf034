"""Deadlines of clients and the end of a drain, on fake transports and a clock of the test's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llmhop.connection_limit import TurnedAway
from llmhop.errors import overloaded

from tests.router.fake_network import HIGH, FakeTransport
from tests.router.fake_router import FakeRouter
from tests.router.form_requests import BEGUN, head
from tests.router.support import chat, post
from tests.router.test_multipart import FILE

HEALTH = b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n"
MODELS = {"m": {"url": "http://127.0.0.1:1", "maxConcurrent": 1}}


class Ground(FakeRouter):
    """A router for one test."""

    def __init__(self, **config: Any) -> None:
        super().__init__({"models": MODELS, **config}, backend_room=500)

    def client(self, room: int = 10**9) -> FakeTransport:
        transport = FakeTransport(self.loop, room)
        self.accept(transport)
        return transport

    def send(self, client: FakeTransport, data: bytes) -> None:
        self.event(lambda: client.peer_sends(data))

    def backend(self) -> FakeTransport:
        """The connection to a backend that was asked for last."""
        self.event(self.connect)
        return self.loop.backends[-1]

    def wait(self, seconds: int) -> None:
        """Let time pass, with a sweep each second."""
        for _ in range(seconds):
            self.sweep(1)

    def refusals(self, reason: str) -> int:
        from llmhop.metric_cells import CELL_OF_REFUSAL

        return self.server.observer._metrics.process[CELL_OF_REFUSAL[reason]]

    def close(self) -> None:
        self.event(self.server.close)
        super().close()


Start = Callable[..., Ground]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts routers on fake transports."""
    grounds: list[Ground] = []

    def begin(**config: Any) -> Ground:
        grounds.append(Ground(**config))
        return grounds[-1]

    yield begin
    for ground in grounds:
        ground.close()


def statuses(client: FakeTransport) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", bytes(client.sent))]


LENGTH = b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 90000\r\n\r\n"
SMALL = b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 60000\r\n\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"
FORM = head(90_000) + b"--XbX\r\n" + FILE + b"\r\n\r\n"
UPLOADS = {"large": LENGTH, "small": SMALL, "chunks": CHUNKS, "form": FORM, "sent form": None}


def begin_upload(ground: Ground, kind: str) -> FakeTransport:
    client = ground.client()
    ground.send(client, UPLOADS[kind] or head(90_000) + BEGUN)
    if kind == "sent form":
        ground.backend().room = 10**9
    return client


def piece_of(kind: str, size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size) if kind == "chunks" else b"x" * size


@pytest.mark.parametrize("kind", UPLOADS)
@pytest.mark.parametrize("every", [1, 5, 19])
def test_an_upload_that_only_trickles_is_ended(kind: str, every: int, start: Start) -> None:
    ground = start()
    client = begin_upload(ground, kind)
    for _ in range(21 // every + 1):
        ground.wait(every)
        ground.send(client, piece_of(kind, 1))
    assert statuses(client) == [408]
    assert b'"code":"timeout"' in client.sent
    assert ground.refusals("upload_rate") == 1


@pytest.mark.parametrize("kind", UPLOADS)
def test_an_upload_that_stops_later_is_ended_too(kind: str, start: Start) -> None:
    ground = start()
    client = begin_upload(ground, kind)
    ground.send(client, piece_of(kind, 50_000))
    for _ in range(40):
        ground.wait(1)
        ground.send(client, piece_of(kind, 1))
    assert statuses(client) == [408]


@pytest.mark.parametrize("kind", UPLOADS)
def test_an_upload_at_the_least_rate_goes_on(kind: str, start: Start) -> None:
    ground = start()
    client = begin_upload(ground, kind)
    for _ in range(100):
        ground.wait(1)
        ground.send(client, piece_of(kind, 500))
    assert statuses(client) == []


def test_the_least_rate_is_a_setting(start: Start) -> None:
    ground = start(minUploadRate=2000)
    client = begin_upload(ground, "large")
    for _ in range(22):
        ground.wait(1)
        ground.send(client, b"x" * 1500)
    assert statuses(client) == [408]


def test_without_a_least_rate_only_pauses_end_an_upload(start: Start) -> None:
    ground = start(minUploadRate=0)
    client = begin_upload(ground, "large")
    for _ in range(10):
        ground.wait(58)
        ground.send(client, b"x")
    assert statuses(client) == []
    ground.wait(61)
    assert statuses(client) == [408]


def test_no_rate_is_asked_for_while_the_backend_does_not_read(start: Start) -> None:
    ground = start()
    client = ground.client()
    ground.send(client, head(90_000) + BEGUN)
    backend = ground.backend()
    ground.send(client, b"x" * 1000)  # more than the backend has room for
    assert not client.is_reading()
    ground.wait(300)
    assert statuses(client) == []
    ground.event(lambda: backend.peer_reads(10**6))
    assert client.is_reading()
    ground.wait(19)
    ground.send(client, b"x" * 10_000)
    ground.wait(15)
    assert statuses(client) == []
    ground.wait(30)
    assert statuses(client) == [408]


def test_a_head_that_trickles_is_ended(start: Start) -> None:
    ground = start()
    client = ground.client()
    for byte in HEALTH[:11]:
        ground.wait(1)
        ground.send(client, bytes([byte]))
    assert statuses(client) == [408]


def test_each_request_that_is_sent_ahead_has_its_own_time(start: Start) -> None:
    ground = start()
    client = ground.client()
    for _ in range(5):
        ground.send(client, HEALTH[:20])
        ground.wait(9)
        ground.send(client, HEALTH[20:] + HEALTH[:20])
        ground.send(client, HEALTH[20:])
    assert statuses(client) == [200] * 10


@pytest.mark.parametrize("ahead", [HEALTH, HEALTH[:20], post(chat()), post(chat())[:-3]])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_that_waits_for_a_slow_reader_is_not_late(
    ahead: bytes, when: str, start: Start
) -> None:
    """A client that takes the response before it slowly, and its next request meanwhile."""
    ground = start()
    client = ground.client(room=0)
    ground.send(client, post(chat()) + (ahead if when == "before" else b""))
    backend = ground.backend()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200
    ground.event(lambda: backend.peer_sends(answer))
    assert len(client.unsent) > HIGH
    if when == "after":
        ground.send(client, ahead)
    for _ in range(12):
        ground.wait(20)
        ground.event(lambda: client.peer_reads(1))
    assert statuses(client) == []
    ground.event(lambda: client.peer_reads(10**6))
    assert statuses(client)[0] == 200
    ground.wait(8)
    assert 408 not in statuses(client)
    assert not client.is_closing()


def test_who_takes_nothing_of_a_response_is_closed_with_what_it_sent_ahead(start: Start) -> None:
    ground = start()
    client = ground.client(room=0)
    ground.send(client, HEALTH * 3)
    assert client.unsent
    ground.wait(130)
    assert client.lost


def test_who_is_turned_away_is_closed_after_a_while(start: Start) -> None:
    ground = start(maxConnections=1)
    ground.client()
    client = ground.client()
    assert isinstance(client.protocol, TurnedAway)
    ground.send(client, b"x" * 100)
    assert statuses(client) == [overloaded().status]
    assert client.eof
    for _ in range(6):
        ground.loop.now += 1
        ground.loop.settle()
    assert client.lost
    assert not ground.server._turned_away


# The end of a drain.


def drain(ground: Ground) -> None:
    def begin() -> None:
        ground.server.draining = True
        for client in list(ground.server.clients):
            client.drain()

    ground.event(begin)


def cut_off(ground: Ground) -> None:
    def end() -> None:
        for client in list(ground.server.clients):
            client.cut_off()

    ground.event(end)


def ends(ground: Ground) -> list[tuple[int, str]]:
    return [(ended.status, ended.end) for ended in ground.server.observer.ended]


def test_who_is_queued_is_refused_at_once(start: Start) -> None:
    ground = start()
    first, queued = ground.client(), ground.client()
    for client in (first, queued):
        ground.send(client, post(chat()))
    form = ground.client()
    ground.send(form, head(90_000) + BEGUN)
    drain(ground)
    for client in (queued, form):
        assert statuses(client) == [503]
        assert b"shutting_down" in client.sent
        assert b"Retry-After: 1\r\n" in client.sent
        assert b"Connection: close\r\n" in client.sent
    assert queued.lost
    assert ends(ground) == [(503, "shutting_down")] * 2
    assert ground.refusals("shutting_down") == 2
    backend = ground.backend()
    ground.event(lambda: backend.peer_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    assert statuses(first) == [200]
    assert first.lost


def test_an_upload_may_end_within_the_drain_but_is_not_queued(start: Start) -> None:
    ground = start()
    first, second = ground.client(), ground.client()
    for client in (first, second):
        ground.send(client, post(chat())[:-3])
    drain(ground)
    for client in (first, second):
        ground.send(client, post(chat())[-3:])
    assert statuses(second) == [503]
    backend = ground.backend()
    ground.event(lambda: backend.peer_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    assert statuses(first) == [200]
    assert b"Connection: close" in first.sent
    assert first.lost


@pytest.mark.parametrize(
    "begun", [HEALTH[:20], LENGTH + b"x" * 70_000, CHUNKS, head(90_000) + BEGUN, post(chat())]
)
def test_what_has_no_response_when_the_drain_ends_is_told_so(begun: bytes, start: Start) -> None:
    ground = start()
    client = ground.client()
    ground.send(client, begun)
    drain(ground)
    assert statuses(client) == []
    cut_off(ground)
    assert statuses(client) == [503]
    assert b"shutting_down" in client.sent
    assert client.lost
    assert ends(ground) == [(503, "shutting_down")]
    assert ground.server.budget.held == 0


RESPONSES = {
    "length": b"Content-Length: 10\r\n\r\nhalf",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
}


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES.keys())
def test_a_response_that_is_cut_off_at_the_end_of_a_drain_is_no_whole_one(
    response: bytes, start: Start
) -> None:
    ground = start()
    client = ground.client()
    ground.send(client, post(chat()))
    backend = ground.backend()
    ground.event(lambda: backend.peer_sends(b"HTTP/1.1 200 OK\r\n" + response))
    drain(ground)
    cut_off(ground)
    assert client.lost
    assert bytes(client.sent).endswith(response.partition(b"\r\n\r\n")[2])
    assert backend.lost
    assert ends(ground) == [(200, "shutting_down")]


def test_a_drain_waits_no_longer_than_it_may_and_then_for_who_reads(start: Start) -> None:
    ground = start()
    reads, stalls = ground.client(), ground.client(room=0)
    for client in (reads, stalls):
        ground.send(client, LENGTH)
    drained = ground.loop.create_task(ground.server.drain(7))
    ground.wait(6)
    assert statuses(reads) == []
    ground.wait(2)
    assert statuses(reads) == [503]
    ground.wait(2)
    assert stalls.lost
    assert drained.done()
