"""Which answers tell the llmhop before this one that no engine has seen the request.

Each kind is answered by one router, and what it wrote is handed to another one in front.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.router.conftest import StartFake
from tests.router.support.corpus.form_requests import BEGUN, head
from tests.router.support.endpoints import chat, post
from tests.router.support.fakes.network import FakeTransport
from tests.router.support.fakes.router import FakeRouter, responses, statuses

VIA = "Via: 1.1 llmhop-0123456789abcdef"
LIMITED = {"url": "http://127.0.0.1:1", "maxConcurrent": 1, "maxQueued": 1, "queueTimeout": 5}
CONFIG = {
    "models": {"m": LIMITED, "free": {"url": "http://127.0.0.1:2", "responseTimeout": 5}},
    "maxBodyBytes": 100_000,
    "maxBufferedBytes": 100_000,
    "maxConnections": 4,
}

Ask = Callable[[FakeRouter, str], FakeTransport]
"""Has a client ask with these header fields, and brings about the answer."""


def ask(router: FakeRouter, field: str, model: str = "m") -> FakeTransport:
    client = router.client()
    router.send(client, post(chat(model), "/v1/x", field))
    return client


def queue_full(router: FakeRouter, field: str) -> FakeTransport:
    return [ask(router, field) for _ in range(3)][-1]


def queue_timeout(router: FakeRouter, field: str) -> FakeTransport:
    client = [ask(router, field) for _ in range(2)][-1]
    router.wait(8)
    return client


def unreachable(router: FakeRouter, field: str) -> FakeTransport:
    client = ask(router, field, "free")
    (asked,) = router.loop.connecting
    router.event(lambda: asked.set_exception(ConnectionRefusedError()))
    return client


def closed_at_once(router: FakeRouter, field: str) -> FakeTransport:
    client = ask(router, field, "free")
    router.event(router.backend().peer_closes)
    return client


def unknown(router: FakeRouter, field: str) -> FakeTransport:
    return ask(router, field, "nobody")


def loop(router: FakeRouter, field: str) -> FakeTransport:
    return ask(router, f"{field}, 1.1 {router.server.table.pseudonym.decode()}")


def fill(router: FakeRouter) -> None:
    router.send(router.client(), post(b"x" * 100_000)[:-10])


def overloaded(router: FakeRouter, field: str) -> FakeTransport:
    fill(router)
    return ask(router, field)


def overloaded_within(router: FakeRouter, field: str) -> FakeTransport:
    fill(router)
    client = router.client()
    router.send(client, post(b"x" * 1000, "/v1/x", field)[:-500])
    return client


def overloaded_within_the_head(router: FakeRouter, field: str) -> FakeTransport:
    fill(router)
    client = router.client()
    router.send(client, post(b"x", "/v1/x", field)[:30])
    return client


def too_many_clients(router: FakeRouter, field: str) -> FakeTransport:
    return [ask(router, field) for _ in range(5)][-1]


def drain(router: FakeRouter) -> None:
    router.event(lambda: router.loop.create_task(router.server.drain(5)))


def queued_at_a_drain(router: FakeRouter, field: str) -> FakeTransport:
    client = [ask(router, field) for _ in range(2)][-1]
    drain(router)
    return client


def form_queued_at_a_drain(router: FakeRouter, field: str) -> FakeTransport:
    ask(router, field)
    client = router.client()
    router.send(client, head(90_000, field) + BEGUN)
    drain(router)
    return client


def upload_at_the_end_of_a_drain(router: FakeRouter, field: str) -> FakeTransport:
    client = router.client()
    router.send(client, post(b"x" * 1000, "/v1/x", field)[:-500])
    drain(router)
    router.wait(6)
    return client


def head_at_the_end_of_a_drain(router: FakeRouter, field: str) -> FakeTransport:
    client = router.client()
    router.send(client, post(b"x", "/v1/x", field)[:30])
    drain(router)
    router.wait(6)
    return client


UNSERVED: list[Ask] = [
    *(queue_full, queue_timeout, unreachable, closed_at_once, unknown, loop),
    *(overloaded, overloaded_within, overloaded_within_the_head, too_many_clients),
    *(queued_at_a_drain, form_queued_at_a_drain, upload_at_the_end_of_a_drain),
    head_at_the_end_of_a_drain,
]
WITHOUT_HEAD = {overloaded_within_the_head, head_at_the_end_of_a_drain, too_many_clients}


@pytest.mark.parametrize("bring_about", UNSERVED)
def test_an_answer_that_no_engine_has_seen_is_told_as_such_and_passed_over(
    bring_about: Ask, start_fake: StartFake
) -> None:
    answering = bring_about(start_fake(**CONFIG), VIA)
    answer = bytes(answering.sent)
    assert statuses(answering)[0] >= 400
    assert b"Proxy-Status: llmhop; error=" in answer
    front = start_fake(models={"m": {"urls": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}})
    client = front.client()
    front.send(client, post(chat()))
    first = front.backend()
    front.event(lambda: first.peer_sends(answer))
    second = front.backend()
    assert second is not first
    front.answer(second, b"ok")
    assert responses(bytes(client.sent)) == [(200, b"ok")]


@pytest.mark.parametrize("bring_about", [each for each in UNSERVED if each is not loop])
def test_a_client_is_not_told(bring_about: Ask, start_fake: StartFake) -> None:
    answering = bring_about(start_fake(**CONFIG), "Via: 1.1 nginx")
    assert statuses(answering)[0] >= 400
    told = b"Proxy-Status" in answering.sent
    assert told == (bring_about in WITHOUT_HEAD), "only where it is not known who asks"


def broken(router: FakeRouter, field: str) -> FakeTransport:
    client = ask(router, field, "free")
    backend = router.backend()
    router.event(lambda: backend.peer_sends(b"HTTP/1.1 2"))
    router.event(backend.peer_closes)
    return client


def too_late(router: FakeRouter, field: str) -> FakeTransport:
    client = ask(router, field, "free")
    router.backend()
    router.wait(8)
    return client


def cut_off_at_the_end_of_a_drain(router: FakeRouter, field: str) -> FakeTransport:
    client = ask(router, field, "free")
    router.backend()
    drain(router)
    router.wait(6)
    return client


@pytest.mark.parametrize(
    ("bring_about", "status"),
    [(broken, 502), (too_late, 504), (cut_off_at_the_end_of_a_drain, 503)],
)
def test_an_answer_to_what_an_engine_may_have_seen_is_not(
    bring_about: Ask, status: int, start_fake: StartFake
) -> None:
    answering = bring_about(start_fake(**CONFIG), VIA)
    assert statuses(answering) == [status]
    assert b"Proxy-Status" not in answering.sent
