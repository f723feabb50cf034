"""Memory for bodies: what counts, who is refused for it, and that all of it is given back."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from llmhop.client.memory_budget import Budget, Share

from tests.router.conftest import StartFake
from tests.router.support.corpus.form_requests import BEGUN, END, chunked, head
from tests.router.support.corpus.forms import FILE, MODEL, part
from tests.router.support.endpoints import HALF, post
from tests.router.support.fakes.network import FakeTransport
from tests.router.support.fakes.router import FakeRouter, responses, statuses


class Budgets(RuleBasedStateMachine):
    """A budget, whose limit changes, and the shares of all who hold bytes of it."""

    holders = Bundle("holders")
    gone = Bundle("gone")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(100)
        self.all: dict[Share, int] = {}

    @rule(target=holders)
    def comes(self) -> Share:
        share = Share(self.budget)
        self.all[share] = 0
        return share

    @rule(share=holders, wanted=st.integers(0, 250))
    def holds(self, share: Share, wanted: int) -> None:
        held, others = self.all[share], self.budget.held - self.all[share]
        may = share.set(wanted)
        assert may == (wanted <= held or not others or others + wanted <= self.budget.limit)
        if may:
            self.all[share] = wanted

    @rule(target=gone, share=consumes(holders))
    def leaves(self, share: Share) -> Share:
        share.close()
        self.all[share] = 0
        return share

    @rule(share=gone, wanted=st.integers(0, 250) | st.none())
    def goes_on_all_the_same(self, share: Share, wanted: int | None) -> None:
        if wanted is None:
            share.close()
        else:
            assert share.set(wanted)

    @rule(limit=st.integers(0, 200))
    def reload(self, limit: int) -> None:
        self.budget.limit = limit

    @invariant()
    def what_is_held_is_what_all_hold(self) -> None:
        assert {share: share.held for share in self.all} == self.all
        assert self.budget.held == sum(self.all.values())

    def teardown(self) -> None:
        for share in self.all:
            share.close()
        assert self.budget.held == 0


TestBudget = Budgets.TestCase
TestBudget.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


SIZE = 100_000
ALIAS = {"the-name-of-a-model": {"url": "http://127.0.0.1:1", "aliases": ["a"], "retries": 1}}


def json_body(model: str, size: int) -> bytes:
    start = b'{"model":"%b","x":"' % model.encode()
    return start + b"x" * (size - len(start) - 2) + b'"}'


def form_body(model: str, size: int) -> bytes:
    start = b"--XbX\r\n" + FILE + b"\r\n\r\n"
    end = b"\r\n" + part(MODEL, model.encode()) + END
    return start + b"x" * (size - len(start) - len(end)) + end


LARGEST = {
    "length": post(json_body("a", SIZE)),
    "chunks": post(b"", "/", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    + chunked(json_body("a", SIZE))
    + b"0\r\n\r\n",
    "form": head(SIZE) + form_body("a", SIZE),
    "form in chunks": head(None) + chunked(form_body("a", SIZE)) + b"0\r\n\r\n",
}


@pytest.mark.parametrize("request_", LARGEST.values(), ids=LARGEST.keys())
def test_a_body_of_the_largest_size_fits_whatever_its_model_is_called(
    request_: bytes, start_fake: StartFake
) -> None:
    router = start_fake(models=ALIAS, maxBodyBytes=SIZE, maxBufferedBytes=SIZE)
    client = router.client()
    for start in range(0, len(request_), 30_000):
        router.send(client, request_[start : start + 30_000])
    backend = router.backend()
    router.event(lambda: backend.peer_reads(10**6))
    assert b"the-name-of-a-model" in backend.sent
    router.answer(backend, b"ok")
    assert statuses(client) == [200]
    assert router.server.budget.held == 0


TWO = {"two": {"urls": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}}
AGAIN = {"again": {"url": "http://127.0.0.1:1", "retries": 1}}
FEW = {"maxBodyBytes": SIZE, "maxBufferedBytes": SIZE}
SMALL = 30_000


def fill(router: FakeRouter) -> FakeTransport:
    """Have a client take all the memory that there is, but for less than SMALL bytes."""
    client = router.client()
    router.send(client, post(json_body("m", SIZE))[: -SMALL // 2])
    assert SIZE - SMALL < router.server.budget.held <= SIZE
    return client


def test_a_request_refused_while_it_connects_does_not_get_the_connection(
    start_fake: StartFake,
) -> None:
    router = start_fake(**FEW)
    hog, client = fill(router), router.client()
    router.send(client, post(json_body("m", SMALL)))
    assert statuses(client) == [503]
    backend = router.backend()
    assert not backend.sent
    assert not backend.lost
    router.event(hog.peer_resets)
    for number in b"12":
        router.send(client, post(json_body("m", SMALL)))
        router.event(lambda: backend.peer_reads(10**6))
        router.answer(backend, bytes([number]))
    assert responses(bytes(client.sent))[1:] == [(200, b"1"), (200, b"2")]
    assert router.loop.backends == [backend]


def test_a_request_refused_while_its_backend_reads_ends_that_connection(
    start_fake: StartFake,
) -> None:
    router = start_fake(**FEW)
    client = router.client()
    router.send(client, post(json_body("m", 100)))
    router.answer(router.backend(), b"0")
    first = router.backend()
    fill(router)
    router.send(client, post(json_body("m", SMALL)))  # more than the backend takes
    assert statuses(client) == [200, 503]
    assert first.lost
    assert router.server.budget.held < SIZE


def connected(router: FakeRouter, model: str, client: FakeTransport) -> FakeTransport:
    """Have one request served; return the backend's connection, which the next one gets."""
    router.send(client, post(json_body(model, 100)))
    backend = router.backend()
    router.event(lambda: backend.peer_reads(10**6))
    router.answer(backend, b"1")
    router.server.models.all()[model]._next = 0
    return backend


@pytest.mark.parametrize("models", [TWO, AGAIN], ids=["urls", "retries"])
def test_where_memory_is_short_what_was_sent_is_kept_for_no_other_replica(
    models: dict[str, object], start_fake: StartFake
) -> None:
    router = start_fake(models=models, **FEW)
    (model,) = models
    client = router.client()
    backend = connected(router, model, client)
    fill(router)
    before = router.server.budget.held
    router.send(client, post(json_body(model, SMALL)))
    assert router.server.budget.held == before
    router.answer(backend, b"2")
    assert responses(bytes(client.sent)) == [(200, b"1"), (200, b"2")]


BUSY = (
    b"HTTP/1.1 429 X\r\nProxy-Status: llmhop; error=connection_limit_reached\r\n"
    b"Content-Length: 0\r\n\r\n"
)


@pytest.mark.parametrize("how", ["busy", "breaks"])
@pytest.mark.parametrize("models", [TWO, AGAIN], ids=["urls", "retries"])
def test_what_is_kept_no_more_is_not_sent_again(
    models: dict[str, object], how: str, start_fake: StartFake
) -> None:
    router = start_fake(models=models, **FEW)
    (model,) = models
    client = router.client()
    backend = connected(router, model, client)
    fill(router)
    router.send(client, post(json_body(model, SMALL)))
    if how == "busy":
        router.event(lambda: backend.peer_sends(BUSY))
        assert statuses(client) == [200, 429]
    else:
        router.event(backend.peer_resets)
        assert statuses(client) == [200, 502]
    assert router.backend() is backend


def test_what_was_kept_for_another_replica_counts_until_the_response(start_fake: StartFake) -> None:
    """Also where the backend, which has begun to answer, has not taken all of it yet."""
    router = start_fake(models={"m": {"urls": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}})
    client = router.client()
    router.send(client, head(SIZE) + BEGUN)
    backend = router.backend()
    router.event(lambda: backend.peer_reads(1000))
    router.send(client, b"x" * (SIZE // 2))
    assert backend.unsent
    assert router.server.budget.held > SIZE // 2
    router.event(lambda: backend.peer_sends(HALF))
    assert statuses(client) == [200]
    assert router.server.budget.held == 0
