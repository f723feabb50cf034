"""Deadlines of clients and backends, on fake transports and a clock of the test's own."""

from __future__ import annotations

import pytest
from llmhop.client.connection_limit import RejectedClient
from llmhop.errors import overloaded

from tests.router.conftest import StartFake
from tests.router.support.corpus.form_requests import BEGUN, head
from tests.router.support.corpus.forms import FILE
from tests.router.support.endpoints import HEALTH, OK, chat, post
from tests.router.support.fakes.network import HIGH, FakeTransport
from tests.router.support.fakes.router import FakeRouter, statuses

LENGTH = b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 90000\r\n\r\n"
SMALL = b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 60000\r\n\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"
FORM = head(90_000) + b"--XbX\r\n" + FILE + b"\r\n\r\n"
UPLOADS = {"large": LENGTH, "small": SMALL, "chunks": CHUNKS, "form": FORM, "sent form": None}


def begin_upload(router: FakeRouter, kind: str) -> FakeTransport:
    client = router.client()
    router.send(client, UPLOADS[kind] or head(90_000) + BEGUN)
    if kind == "sent form":
        router.backend().room = 10**9
    return client


def piece_of(kind: str, size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size) if kind == "chunks" else b"x" * size


@pytest.mark.parametrize("kind", UPLOADS)
@pytest.mark.parametrize("every", [1, 5, 19])
def test_an_upload_that_only_trickles_is_ended(
    kind: str, every: int, start_fake: StartFake
) -> None:
    router = start_fake()
    client = begin_upload(router, kind)
    for _ in range(21 // every + 1):
        router.wait(every)
        router.send(client, piece_of(kind, 1))
    assert statuses(client) == [408]
    assert b'"code":"timeout"' in client.sent
    assert router.refusals("upload_rate") == 1


@pytest.mark.parametrize("kind", UPLOADS)
def test_an_upload_that_stops_later_is_ended_too(kind: str, start_fake: StartFake) -> None:
    router = start_fake()
    client = begin_upload(router, kind)
    router.send(client, piece_of(kind, 50_000))
    for _ in range(40):
        router.wait(1)
        router.send(client, piece_of(kind, 1))
    assert statuses(client) == [408]


@pytest.mark.parametrize("kind", UPLOADS)
def test_an_upload_at_the_least_rate_goes_on(kind: str, start_fake: StartFake) -> None:
    router = start_fake()
    client = begin_upload(router, kind)
    for _ in range(100):
        router.wait(1)
        router.send(client, piece_of(kind, 500))
    assert statuses(client) == []


def test_the_least_rate_is_a_setting(start_fake: StartFake) -> None:
    router = start_fake(minUploadRate=2000)
    client = begin_upload(router, "large")
    for _ in range(22):
        router.wait(1)
        router.send(client, b"x" * 1500)
    assert statuses(client) == [408]


def test_without_a_least_rate_only_pauses_end_an_upload(start_fake: StartFake) -> None:
    router = start_fake(minUploadRate=0)
    client = begin_upload(router, "large")
    for _ in range(10):
        router.wait(58)
        router.send(client, b"x")
    assert statuses(client) == []
    router.wait(61)
    assert statuses(client) == [408]


def test_no_rate_is_asked_for_while_the_backend_does_not_read(start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, head(90_000) + BEGUN)
    backend = router.backend()
    router.send(client, b"x" * 1000)  # more than the backend has room for
    assert not client.is_reading()
    router.wait(300)
    assert statuses(client) == []
    router.event(lambda: backend.peer_reads(10**6))
    assert client.is_reading()
    router.wait(19)
    router.send(client, b"x" * 10_000)
    router.wait(15)
    assert statuses(client) == []
    router.wait(30)
    assert statuses(client) == [408]


def test_a_head_that_trickles_is_ended(start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()
    for byte in HEALTH[:11]:
        router.wait(1)
        router.send(client, bytes([byte]))
    assert statuses(client) == [408]


def test_tls_on_a_port_without_it_is_refused_at_its_first_byte(start_fake: StartFake) -> None:
    for hello in (b"\x16", b"\x16\x03\x01\x02\0\x01\0", b"\x16\x03\x01\r\n\r\n"):
        router = start_fake()
        client = router.client()
        router.send(client, hello)
        assert statuses(client) == [400]
        assert b"This is TLS" in client.sent


def test_each_request_that_is_sent_ahead_has_its_own_time(start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()
    for _ in range(5):
        router.send(client, HEALTH[:20])
        router.wait(9)
        router.send(client, HEALTH[20:] + HEALTH[:20])
        router.send(client, HEALTH[20:])
    assert statuses(client) == [200] * 10


@pytest.mark.parametrize("ahead", [HEALTH, HEALTH[:20], post(chat()), post(chat())[:-3]])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_that_waits_for_a_slow_reader_is_not_late(
    ahead: bytes, when: str, start_fake: StartFake
) -> None:
    """A client that takes the response before it slowly, and its next request meanwhile."""
    router = start_fake()
    client = router.client(room=0)
    router.send(client, post(chat()) + (ahead if when == "before" else b""))
    backend = router.backend()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200
    router.event(lambda: backend.peer_sends(answer))
    assert len(client.unsent) > HIGH
    if when == "after":
        router.send(client, ahead)
    for _ in range(12):
        router.wait(20)
        router.event(lambda: client.peer_reads(1))
    assert statuses(client) == []
    router.event(lambda: client.peer_reads(10**6))
    assert statuses(client)[0] == 200
    router.wait(8)
    assert 408 not in statuses(client)
    assert not client.is_closing()


def test_a_client_that_reads_nothing_is_closed_with_its_pipelined_requests(
    start_fake: StartFake,
) -> None:
    router = start_fake()
    client = router.client(room=0)
    router.send(client, HEALTH * 3)
    assert client.unsent
    router.wait(130)
    assert client.lost


def test_a_refused_client_is_closed_after_a_while(start_fake: StartFake) -> None:
    router = start_fake(maxConnections=1)
    router.client()
    client = router.client()
    assert isinstance(client.protocol, RejectedClient)
    router.send(client, b"x" * 100)
    assert statuses(client) == [overloaded().status]
    assert client.eof
    for _ in range(6):
        router.loop.now += 1
        router.loop.settle()
    assert client.lost
    assert not router.server._turned_away


def test_the_time_for_a_response_begins_when_there_is_a_connection(start_fake: StartFake) -> None:
    times = {"connectTimeout": 9, "responseTimeout": 3}
    router = start_fake(models={"m": {"url": "http://192.0.2.1", **times}})
    client = router.client()
    router.send(client, post(chat()))
    router.wait(8)
    assert statuses(client) == []
    backend = router.backend()
    router.wait(3)
    assert not backend.lost
    router.event(lambda: backend.peer_sends(OK))
    assert statuses(client) == [200]
    assert not router.server.models.all()["m"].replicas[0].ejected


def test_a_backend_without_a_response_in_time_is_set_aside(start_fake: StartFake) -> None:
    router = start_fake(models={"m": {"url": "http://192.0.2.1", "responseTimeout": 3}})
    client = router.client()
    router.send(client, post(chat()))
    router.backend()
    router.wait(5)
    assert statuses(client) == [504]
    assert router.server.models.all()["m"].replicas[0].ejected
