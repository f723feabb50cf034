"""What all clients send at once holds nothing else up: counted in passes of the event loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from llmhop.client.work_queue import WorkQueue
from llmhop.http.body.large_body import PIECE_BYTES
from llmhop.limits import LIGHT_BYTES, MAX_PASS_S, MAX_REQUESTS_PER_PASS

from tests.router.conftest import StartFake
from tests.router.support.endpoints import chat, post
from tests.router.support.fakes.network import FakeTransport
from tests.router.support.fakes.router import FakeRouter, statuses

MANY = 40
ODD_KEYS = b'{"x":{' + b'"\xff":1,' * 100_000 + b'"y":1},"model":"m"}'
HEALTH = b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n"


class Passes:
    """An event loop of which a test runs each pass; its clock stands still but for its jobs."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.now = 0.0
        self.queue = WorkQueue(self.jobs.append, lambda: self.now)
        self.done: list[str] = []

    def put(self, name: str, seconds: float, light: bool = False) -> None:
        def job() -> None:
            self.done.append(name)
            self.now += seconds

        self.queue.put(job, light=light)

    def run(self) -> list[str]:
        """Run a pass; return what was done in it."""
        jobs, self.jobs[:] = list(self.jobs), []
        assert len(jobs) <= 1
        for job in jobs:
            job()
        done, self.done = self.done, []
        return done


def test_a_pass_does_its_share_and_the_next_one_goes_on() -> None:
    passes = Passes()
    for name in "abcde":
        passes.put(name, 0.5 * MAX_PASS_S)
    assert [passes.run() for _ in range(4)] == [["a", "b"], ["c", "d"], ["e"], []]
    assert passes.jobs == []
    passes.put("f", MAX_PASS_S)
    assert [passes.run(), passes.run(), passes.queue.is_full] == [["f"], [], False]


def test_work_outside_of_the_queue_counts_until_the_next_pass() -> None:
    passes = Passes()
    found = []
    for share in (0.7, 0.4, 0.4):
        passes.queue.spend(share * MAX_PASS_S)
        found.append(passes.queue.is_full)
    passes.run()
    assert [*found, passes.queue.is_full] == [False, True, True, False]


def test_light_work_goes_first_and_leaves_half_to_the_rest() -> None:
    passes = Passes()
    for number in range(3):
        passes.put(f"other {number}", MAX_PASS_S / 4)
    for number in range(6):
        passes.put(f"light {number}", MAX_PASS_S / 4, light=True)
    done = []
    while passes.jobs:
        done.append(passes.run())
    assert done[:2] == [
        ["light 0", "light 1", "other 0", "other 1"],
        ["light 2", "light 3", "other 2", "light 4"],
    ]
    assert done[2] == ["light 5"]


def test_what_is_put_by_a_job_has_another_pass() -> None:
    passes = Passes()
    passes.queue.put(lambda: passes.put("b", 0))
    assert passes.run() == []
    assert passes.run() == ["b"]


def test_a_job_that_fails_ends_no_other() -> None:
    def fails() -> None:
        raise ZeroDivisionError

    passes = Passes()
    passes.queue.put(fails)
    passes.put("a", 0)
    with pytest.raises(ZeroDivisionError):
        passes.run()
    assert passes.run() == ["a"]


def run_pass(router: FakeRouter) -> None:
    """Run one pass of the event loop, in which every connection is read that has bytes."""
    for client in router.clients:
        if not client.lost:
            router.loop.call_soon(client.deliver)
    router.loop.call_soon(router.loop.stop)
    router.loop.run_forever()


def searched(router: FakeRouter) -> int:
    """How much of large bodies was searched for the model, of those that are not complete."""
    return sum(client._session.incoming.reader.held_bytes for client in router.server.clients)


def answered(router: FakeRouter) -> int:
    """How many responses all clients got."""
    return sum(len(statuses(client)) for client in router.clients)


def crowd(router: FakeRouter, body: bytes) -> list[FakeTransport]:
    """Have many clients send the head of a large request, and then `body` in the same pass."""
    clients = [router.client() for _ in range(MANY)]
    head, end, _ = post(body if len(body) > 200_000 else ODD_KEYS).partition(b"\r\n\r\n")
    for client in clients:
        router.send(client, head + end)
    for client in clients:
        client.incoming += body
    return clients


def test_a_pass_reads_so_much_of_all_bodies(start_fake: StartFake) -> None:
    router = start_fake()
    clients = crowd(router, ODD_KEYS)
    for client in clients:
        del client.incoming[-1:]  # or what was searched would go on
    share = 10**6
    router.spent = lambda: searched(router) * MAX_PASS_S / share
    before, passes = 0, 0
    while any(client.incoming for client in clients):
        run_pass(router)
        now = searched(router)
        assert now - before <= share + PIECE_BYTES
        before, passes = now, passes + 1
    assert passes >= MANY * len(ODD_KEYS) // (2 * share)


def test_little_is_read_of_a_body_that_has_to_wait(start_fake: StartFake) -> None:
    router = start_fake()
    clients = crowd(router, ODD_KEYS[:100_000])
    while any(client.incoming for client in clients):
        run_pass(router)

    def act() -> None:
        full(router)
        for client in clients:
            client.incoming += ODD_KEYS[100_000:]
            left = len(client.incoming)
            client.deliver()
            assert 0 < left - len(client.incoming) <= PIECE_BYTES // 4

    router.event(act)


def test_the_last_bytes_of_many_bodies_are_not_answered_at_once(start_fake: StartFake) -> None:
    router = start_fake()
    clients = crowd(router, b"[" + ODD_KEYS[: PIECE_BYTES - 100] + b"]")  # which names no model
    for client in clients:
        del client.incoming[-1:]
    while any(client.incoming for client in clients):
        run_pass(router)
    for client in clients:
        client.incoming += b"]"
    router.spent = lambda: answered(router) * MAX_PASS_S / 3
    before = 0
    while before < MANY:
        run_pass(router)
        now = answered(router)
        assert before < now <= before + 3 + 1
        before = now
    assert {statuses(client)[0] for client in clients} == {400}


def test_a_light_request_is_answered_while_bodies_come_in(start_fake: StartFake) -> None:
    router = start_fake()
    clients = [router.client() for _ in range(MANY)]
    health = router.client()
    for client in clients:
        client.incoming += post(ODD_KEYS)[:-1]
    router.spent = lambda: searched(router) * MAX_PASS_S / 10**6
    run_pass(router)
    for _ in range(3):
        health.incoming += HEALTH
        before = len(health.sent)
        for _ in range(2):
            run_pass(router)
        assert len(health.sent) > before
    assert router.server.work.is_full


def full(router: FakeRouter) -> None:
    """Have the rest of this pass do no more work."""
    router.server.work.spend(MAX_PASS_S)


def test_many_requests_are_answered_some_at_a_time(start_fake: StartFake) -> None:
    router = start_fake()
    clients = [router.client() for _ in range(MANY)]
    for client in clients:
        client.incoming += HEALTH * 12
    router.spent = lambda: answered(router) * MAX_PASS_S / 20
    before = 0
    while before < MANY * 12:
        run_pass(router)
        now = answered(router)
        assert now - before <= 20 + MAX_REQUESTS_PER_PASS
        before = now


def test_what_waits_is_read_in_order_and_once(start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()

    def act() -> None:
        full(router)
        client.peer_sends(HEALTH[:20])
        (owner,) = router.server.clients
        owner._session.socket.read_on()  # whatever else would go on
        assert not client.reading
        router.server.work.spend(-2 * MAX_PASS_S)
        client.protocol.data_received(HEALTH[20:] + HEALTH)
        assert not client.sent

    router.event(act)
    assert statuses(client) == [200, 200]
    assert client.reading


@pytest.mark.parametrize("large", [False, True])
def test_no_deadline_runs_while_a_client_waits_for_its_turn(
    large: bool, start_fake: StartFake
) -> None:
    router = start_fake()
    client = router.client()
    raw = post(b" " * 100_000)
    cut = raw.index(b"\r\n\r\n") + (4 if large else -9)
    router.send(client, raw[:cut])

    def act() -> None:
        full(router)
        client.peer_sends(raw[cut : cut + 3])
        router.loop.now += 1_000
        router.server.sweep(router.loop.now)
        assert not client.lost
        assert not client.sent

    router.event(act)
    router.sweep(1)
    assert not client.sent
    router.wait(100)
    assert statuses(client) == [408]


@pytest.mark.parametrize("size", [10, LIGHT_BYTES, 100_000])
def test_a_client_that_goes_while_it_waits_leaves_nothing(size: int, start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()

    def act() -> None:
        full(router)
        client.peer_sends(post(b" " * size))
        assert router.server.budget.held > 0
        client.peer_resets()

    router.event(act)
    assert client.lost
    assert router.server.budget.held == 0
    assert not router.server.clients


def test_what_waits_counts_as_held(start_fake: StartFake) -> None:
    router = start_fake(maxBodyBytes=1000, maxBufferedBytes=1000)
    first, second = router.client(), router.client()
    router.send(first, post(b" " * 900)[:-1])

    def act() -> None:
        full(router)
        second.peer_sends(post(b" " * 900))

    router.event(act)
    assert statuses(second) == [503]
    assert second.reading


def test_a_client_that_is_refused_later_is_read_until_then(start_fake: StartFake) -> None:
    router = start_fake(maxBodyBytes=1000, maxBufferedBytes=1000)
    first, second = router.client(), router.client()
    router.send(first, post(chat()))
    router.send(second, post(b" " * 900)[:-1])

    def act() -> None:
        full(router)
        first.peer_sends(post(b" " * 900))

    router.event(act)
    assert not first.sent
    assert first.reading


def test_a_client_that_waits_is_served_at_a_drain(start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, HEALTH)
    (owner,) = router.server.clients

    def act() -> None:
        full(router)
        client.peer_sends(HEALTH)
        router.server.draining = True
        owner.drain()

    router.event(act)
    assert statuses(client) == [200, 200]
    assert client.is_closing()


@pytest.mark.parametrize("raw", [HEALTH, post(b"[" + b" " * 100_000)])
def test_an_end_that_comes_meanwhile_is_behind_what_waits(
    raw: bytes, start_fake: StartFake
) -> None:
    """Over TLS it may be told to who does not read."""
    router = start_fake()
    client = router.client()
    head, end, body = raw.partition(b"\r\n\r\n")
    if body:
        router.send(client, head + end)
        client.incoming += body[:-10]
        router.event(client.deliver)

    def act() -> None:
        full(router)
        client.peer_sends(body[-10:] or raw)
        assert not client.sent
        client.protocol.eof_received()

    router.event(act)
    assert statuses(client) == [400 if body else 200]


def large_request(router: FakeRouter) -> tuple[FakeTransport, bytes]:
    """Have a client send half of a large request, of which the last part waits; return the rest."""
    client = router.client()
    body = chat() + b" " * 200_000
    raw = post(body)
    router.send(client, raw[:50_000])

    def act() -> None:
        full(router)
        client.peer_sends(raw[50_000:60_000])
        (owner,) = router.server.clients
        owner._cycle.advance()  # as after a response that a client took
        assert not client.reading

    router.event(act)
    return client, raw[60_000:]


def test_a_body_of_which_a_part_waited_is_whole(start_fake: StartFake) -> None:
    router = start_fake()
    client, rest = large_request(router)
    router.send(client, rest)
    backend = router.backend()
    router.event(lambda: backend.peer_reads(10**6))
    assert backend.sent.endswith(chat() + b" " * 200_000)


def test_a_part_that_waited_completes_no_body_that_its_client_cuts(start_fake: StartFake) -> None:
    router = start_fake()
    client, rest = large_request(router)
    router.send(client, rest[:-10_000])  # as much is missing as had waited
    router.event(client.peer_closes)
    assert client.lost
    assert not router.loop.connecting


def test_a_body_that_is_refused_while_it_waits_is_read_no_more(start_fake: StartFake) -> None:
    router = start_fake()
    client, rest = large_request(router)
    (owner,) = router.server.clients

    def act() -> None:
        full(router)
        client.peer_sends(rest[:100])
        owner.cut_off()

    router.event(act)
    router.send(client, rest[100:])
    assert statuses(client) == [503]
    assert router.server.budget.held == 0
