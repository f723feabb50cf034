"""A drain: who is still served, and its end, on fake transports and a clock of the test's own."""

from __future__ import annotations

import pytest
from llmhop.workers.messages import Acquire, StopWaiting
from llmhop.workers.shared_gates import SharedGates

from tests.router.conftest import StartFake
from tests.router.support.corpus.form_requests import BEGUN, head
from tests.router.support.endpoints import HEALTH, OK, chat, post
from tests.router.support.fakes.network import HIGH
from tests.router.support.fakes.router import FakeRouter, statuses
from tests.router.support.fakes.worker import FakeWorker, models
from tests.router.support.websocket import ASK

LENGTH = b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 90000\r\n\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"


def drain(router: FakeRouter) -> None:
    router.event(router.server.begin_drain)


def cut_off(router: FakeRouter) -> None:
    router.event(router.server.cut_off)


def ends(router: FakeRouter) -> list[tuple[int, str]]:
    return [(ended.status, ended.end) for ended in router.server.observer.ended]


def test_queued_requests_are_refused_at_once(start_fake: StartFake) -> None:
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
        self.places = SharedGates(lambda _, message: self.worker.down.append(message))
        self.places.serve(models({"m": (most, 5)}))
        limited = {"url": "http://192.0.2.1", "maxConcurrent": most}
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


@pytest.mark.parametrize("under_way", [False, True])
def test_a_tls_client_is_told_of_a_drain_with_a_response(
    under_way: bool, start_fake: StartFake
) -> None:
    """Who does not read while it is idle would learn of TLS's end only behind its next request."""
    router = start_fake()
    client = router.client(tls=True)
    router.send(client, post(chat()))
    backend = router.backend()
    if under_way:
        router.event(lambda: backend.peer_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"))
    else:
        router.answer(backend, b"ok")
    drain(router)
    if under_way:
        router.event(lambda: backend.peer_sends(b"k"))
    assert b"close" not in client.sent
    assert not client.is_closing()
    router.send(client, HEALTH)
    assert statuses(client) == [200, 200]
    assert b"Connection: close" in client.sent
    assert client.is_closing()


def test_a_tls_client_that_asks_for_nothing_at_a_drain_is_closed_soon(
    start_fake: StartFake,
) -> None:
    router = start_fake()
    client = router.client(tls=True)
    router.send(client, HEALTH)
    drain(router)
    assert not client.lost
    router.wait(3)
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


def test_a_tls_client_that_catches_up_has_no_more_time_at_a_drain(start_fake: StartFake) -> None:
    """The whole response is written when the drain begins, and the client takes it then."""
    router = start_fake()
    client = router.client(room=0, tls=True)
    router.send(client, post(chat()))
    router.answer(router.backend(), b"x" * 200)
    assert len(client.unsent) > HIGH
    drain(router)
    router.event(lambda: client.peer_reads(10**6))
    assert statuses(client) == [200]
    assert not client.lost
    router.wait(3)
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


@pytest.mark.parametrize("when", ["before it begins", "within it"])
def test_a_drain_may_be_ended(when: str, start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, LENGTH)
    if when == "before it begins":
        router.server.end_drain()
    drained = []
    router.event(lambda: drained.append(router.loop.create_task(router.server.drain(7))))
    if when == "within it":
        assert statuses(client) == []
        router.event(router.server.end_drain)
    assert statuses(client) == [503]
    assert ends(router) == [(503, "shutting_down")]
    router.wait(2)
    assert drained[0].done()
