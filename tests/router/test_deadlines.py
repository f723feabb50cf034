"""Deadlines of clients and the end of a drain, on fake transports and a clock of the test's own."""

from __future__ import annotations

import pytest
from llmhop.connection_limit import TurnedAway
from llmhop.errors import overloaded
from llmhop.messages import Acquire, StopWaiting
from llmhop.places import Places

from tests.router.conftest import StartFake
from tests.router.fake_network import HIGH, FakeTransport
from tests.router.fake_router import FakeRouter, statuses
from tests.router.fake_worker import FakeWorker, models
from tests.router.form_requests import BEGUN, head
from tests.router.forms import FILE
from tests.router.support import chat, post
from tests.router.websocket import ASK

HEALTH = b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n"
LENGTH = b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 90000\r\n\r\n"
SMALL = b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 60000\r\n\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"
FORM = head(90_000) + b"--XbX\r\n" + FILE + b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
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


def test_who_takes_nothing_of_a_response_is_closed_with_what_it_sent_ahead(
    start_fake: StartFake,
) -> None:
    router = start_fake()
    client = router.client(room=0)
    router.send(client, HEALTH * 3)
    assert client.unsent
    router.wait(130)
    assert client.lost


def test_who_is_turned_away_is_closed_after_a_while(start_fake: StartFake) -> None:
    router = start_fake(maxConnections=1)
    router.client()
    client = router.client()
    assert isinstance(client.protocol, TurnedAway)
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
    router = start_fake(models={"m": {"url": "http://h", **times}})
    client = router.client()
    router.send(client, post(chat()))
    router.wait(8)
    assert statuses(client) == []
    backend = router.backend()
    router.wait(3)
    assert not backend.lost
    router.event(lambda: backend.peer_sends(OK))
    assert statuses(client) == [200]
    assert not router.server.backends.all()["m"].replicas[0].aside


def test_a_backend_without_a_response_in_time_is_set_aside(start_fake: StartFake) -> None:
    router = start_fake(models={"m": {"url": "http://h", "responseTimeout": 3}})
    client = router.client()
    router.send(client, post(chat()))
    router.backend()
    router.wait(5)
    assert statuses(client) == [504]
    assert router.server.backends.all()["m"].replicas[0].aside


# The end of a drain.


def drain(router: FakeRouter) -> None:
    router.event(router.server.begin_drain)


def cut_off(router: FakeRouter) -> None:
    router.event(router.server.cut_off)


def ends(router: FakeRouter) -> list[tuple[int, str]]:
    return [(ended.status, ended.end) for ended in router.server.observer.ended]


def test_who_is_queued_is_refused_at_once(start_fake: StartFake) -> None:
    router = start_fake()
    first, queued = router.client(), router.client()
    for client in (first, queued):
        router.send(client, post(chat()))
    form = router.client()
    router.send(form, head(90_000) + BEGUN)
    drain(router)
    for client in (queued, form):
        assert statuses(client) == [503]
        assert b"shutting_down" in client.sent
        assert b"Retry-After: 1\r\n" in client.sent
        assert b"Connection: close\r\n" in client.sent
    assert queued.lost
    assert ends(router) == [(503, "shutting_down")] * 2
    assert router.refusals("shutting_down") == 2
    backend = router.backend()
    router.event(lambda: backend.peer_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    assert statuses(first) == [200]
    assert first.lost


def test_an_upload_may_end_within_the_drain_but_is_not_queued(start_fake: StartFake) -> None:
    router = start_fake()
    first, second = router.client(), router.client()
    for client in (first, second):
        router.send(client, post(chat())[:-3])
    drain(router)
    for client in (first, second):
        router.send(client, post(chat())[-3:])
    assert statuses(second) == [503]
    backend = router.backend()
    router.event(lambda: backend.peer_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    assert statuses(first) == [200]
    assert b"Connection: close" in first.sent
    assert first.lost


class Supervised:
    """A router that is a worker, whose supervisor hears and answers when the test says so."""

    def __init__(self, start_fake: StartFake, most: int) -> None:
        self.worker = FakeWorker(1, {})
        self.places = Places(lambda _, message: self.worker.down.append(message))
        self.places.serve(models({"m": (most, 5)}))
        limited = {"url": "http://h", "maxConcurrent": most}
        self.router = start_fake(self.worker.gates, models={"m": limited})

    def talk(self) -> None:
        while self.worker.up:
            message = self.worker.up.popleft()
            if isinstance(message, Acquire):
                self.places.acquire(1, message.ticket, message.model)
            elif isinstance(message, StopWaiting):
                self.places.stop_waiting(1, message.ticket)
            else:
                self.places.release(1, message.ticket)
        while self.worker.down:
            self.router.event(self.worker.hear)


REQUESTS = {"chat": post(chat()), "form": head(90_000) + BEGUN}


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("sent", ["before the drain", "within it"])
def test_at_a_drain_a_worker_serves_a_request_if_there_is_a_place(
    kind: str, sent: str, start_fake: StartFake
) -> None:
    """Whoever has not heard yet that there is one is no different from who has."""
    supervised = Supervised(start_fake, 1)
    router = supervised.router
    first, second = router.client(), router.client()
    cut = len(REQUESTS[kind]) if sent == "before the drain" else 20
    for client in (first, second):
        router.send(client, REQUESTS[kind][:cut])
    drain(router)
    for client in (first, second):
        router.send(client, REQUESTS[kind][cut:])
    assert [statuses(client) for client in (first, second)] == [[], []]
    supervised.talk()
    assert statuses(first) == []
    assert statuses(second) == [503]
    assert b"shutting_down" in second.sent
    assert ends(router) == [(503, "shutting_down")]
    assert router.refusals("shutting_down") == 1
    backend = router.backend()
    router.event(lambda: backend.peer_sends(OK))
    assert statuses(first) == [200]
    assert b"Connection: close" in first.sent


@pytest.mark.parametrize("when", ["before", "after"])
def test_at_a_drain_a_worker_without_its_supervisor_keeps_nobody_waiting(
    when: str, start_fake: StartFake
) -> None:
    supervised = Supervised(start_fake, 1)
    router, gates = supervised.router, supervised.worker.gates
    clients = [router.client() for _ in range(4)]
    for client in clients[:2]:
        router.send(client, post(chat()))
    if when == "before":
        router.event(gates.supervisor_left)
        assert [statuses(client) for client in clients] == [[], [], [], []]
    router.send(clients[2], post(chat())[:20])
    router.send(clients[3], post(chat())[:20])
    drain(router)
    router.send(clients[2], post(chat())[20:])
    if when == "after":
        router.event(gates.supervisor_left)
    router.send(clients[3], post(chat())[20:])
    assert [statuses(client) for client in clients] == [[503]] * 4
    assert router.refusals("shutting_down") == 4
    assert not gates._waiting
    assert not gates._tickets


@pytest.mark.parametrize(
    "begun", [HEALTH[:20], LENGTH + b"x" * 70_000, CHUNKS, head(90_000) + BEGUN, post(chat())]
)
def test_what_has_no_response_when_the_drain_ends_is_told_so(
    begun: bytes, start_fake: StartFake
) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, begun)
    drain(router)
    assert statuses(client) == []
    cut_off(router)
    assert statuses(client) == [503]
    assert b"shutting_down" in client.sent
    assert ends(router) == [(503, "shutting_down")]
    assert router.server.budget.held == 0
    if begun != post(chat()):
        # To close at once would reset the connection under the answer.
        assert (client.eof, client.is_closing(), client.is_reading()) == (True, False, True)
        router.send(client, b"x" * 100_000)
        router.event(client.peer_closes)
    assert client.lost


def test_at_a_drain_idle_clients_are_closed_and_new_ones_have_a_moment(
    start_fake: StartFake,
) -> None:
    router = start_fake()
    idle, silent, late = (router.client() for _ in range(3))
    router.send(idle, HEALTH)
    drain(router)
    assert idle.lost
    just_come = router.client()  # as one whose TLS handshake began before
    router.send(late, HEALTH)
    assert b"Connection: close" in late.sent
    assert late.lost
    router.wait(4)
    assert [silent.lost, just_come.lost] == [False, False]
    router.wait(3)
    assert [silent.lost, just_come.lost] == [True, True]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("ahead", [HEALTH, HEALTH * 3, post(chat())])
def test_what_was_sent_ahead_is_not_dropped_at_a_drain_without_a_word(
    ahead: bytes, when: str, start_fake: StartFake
) -> None:
    """The response before it either says that the connection ends, or it is served itself."""
    router = start_fake()
    client = router.client()
    router.send(client, post(chat()) + ahead)
    backend = router.backend()
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"
    if when == "before":
        router.event(lambda: backend.peer_sends(start))
        drain(router)
    else:
        drain(router)
        router.event(lambda: backend.peer_sends(start))
    router.event(lambda: backend.peer_sends(b"k"))
    if when == "before" and ahead == post(chat()):
        router.answer(router.backend(), b"ok")
    assert statuses(client) == ([200, 200] if when == "before" else [200])
    assert bytes(client.sent).count(b"Connection: close\r\n") == 1
    assert client.lost


def test_a_tls_client_that_has_everything_is_not_waited_for(start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client(room=0, tls=True)
    router.send(client, HEALTH)
    drain(router)
    client.kernel_holds(100)
    router.wait(30)
    assert not client.lost, "the router holds some of the response"
    router.event(lambda: client.peer_reads(10**6))
    router.wait(20)
    assert not client.lost, "the kernel holds some of it"
    client.kernel_holds(0)
    router.wait(1)
    assert not client.lost, "what the kernel holds is asked for twice"
    router.wait(1)
    assert client.lost


def test_a_websocket_goes_on_until_the_drain_ends(start_fake: StartFake) -> None:
    router = start_fake()
    client, queued = router.client(), router.client()
    for each in (client, queued):
        router.send(each, ASK)
    backend = router.backend()
    router.event(
        lambda: backend.peer_sends(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
    )
    drain(router)
    assert statuses(queued) == [503]
    router.event(lambda: backend.peer_reads(10**6))
    router.send(client, b"to")
    router.event(lambda: backend.peer_sends(b"fro"))
    assert backend.sent.endswith(b"to")
    assert client.sent.endswith(b"fro")
    cut_off(router)
    assert client.lost
    assert backend.lost
    assert ends(router) == [(503, "shutting_down"), (101, "shutting_down")]


RESPONSES = {
    "length": b"Content-Length: 10\r\n\r\nhalf",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
}


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES.keys())
def test_a_response_that_is_cut_off_at_the_end_of_a_drain_is_no_whole_one(
    response: bytes, start_fake: StartFake
) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, post(chat()))
    backend = router.backend()
    router.event(lambda: backend.peer_sends(b"HTTP/1.1 200 OK\r\n" + response))
    drain(router)
    cut_off(router)
    assert client.lost
    assert bytes(client.sent).endswith(response.partition(b"\r\n\r\n")[2])
    assert backend.lost
    assert ends(router) == [(200, "shutting_down")]


def test_a_drain_waits_no_longer_than_it_may_and_then_for_who_reads(start_fake: StartFake) -> None:
    router = start_fake()
    reads, stalls = router.client(), router.client(room=0)
    for client in (reads, stalls):
        router.send(client, LENGTH)
    drained = router.loop.create_task(router.server.drain(7))
    router.wait(6)
    assert statuses(reads) == []
    router.wait(2)
    assert statuses(reads) == [503]
    router.wait(2)
    assert stalls.lost
    assert drained.done()
