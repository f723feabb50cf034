"""A client's connection in every order of events, on fake transports: turns, deadlines, memory.

A stateful model (hypothesis): requests of every kind in any pieces and sent ahead, slow readers,
who leaves, backends that answer late or never, sweeps at any time, and a drain.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from llmhop.limits import MAX_PIPELINED_BYTES
from llmhop.observe.request_record import EndedRequest

from tests.router.support.endpoints import check
from tests.router.support.fakes.clients import (
    TEAM_TOKEN,
    TOKEN,
    Client,
    ClientTransport,
    request,
)
from tests.router.support.fakes.network import READ_BYTES
from tests.router.support.fakes.router import FakeRouter, pick
from tests.stateful import run_model

MAX_BODY, MEMORY = 100_000, 150_000
CONFIG: dict[str, Any] = {
    "models": {
        "m": {"url": "http://127.0.0.1:1", "maxConcurrent": 2, "maxQueued": 2},
        "again": {"url": "http://127.0.0.1:2", "retries": 1},
        "two": {"urls": ["http://127.0.0.1:3", "http://127.0.0.1:4"], "aliases": ["2"]},
    },
    "authTokens": [TOKEN],
    "clients": {"team": {"token": TEAM_TOKEN, "maxConcurrent": 2, "requestsPerMinute": 100}},
    "maxBodyBytes": MAX_BODY,
    "maxBufferedBytes": MEMORY,
}
LESS_MEMORY = {**CONFIG, "maxBodyBytes": MAX_BODY // 4, "maxBufferedBytes": MEMORY // 4}

SIZES = st.sampled_from([0, 20, 300, 30_000, 70_000, MAX_BODY - 100, MAX_BODY + 1])
_NUMBER = re.compile(rb"POST /n/(\d+) ")
BUSY = (
    b"HTTP/1.1 429 X\r\nProxy-Status: llmhop; error=connection_limit_reached\r\n"
    b"Content-Length: 0\r\n\r\n"
)

NAMES = st.sampled_from(["m", "again", "two", "2"])
KINDS_OF_FORMS = st.sampled_from(["form", "chunked form"])
KINDS = st.sampled_from(["length", "chunks", "form", "chunked form", "health", "unknown"])


class Clients(RuleBasedStateMachine):
    """The router, fake clients, and backends that take what they get."""

    def __init__(self) -> None:
        super().__init__()
        self.router = FakeRouter(CONFIG, backend_room=500)
        self.loop, self.server = self.router.loop, self.router.server
        self.clients: list[Client] = []
        self.ended: list[EndedRequest] = []
        self.draining = False
        self.number = 0
        self.most = MEMORY

    @initialize(
        data=st.data(),
        uploads=st.lists(st.tuples(KINDS_OF_FORMS, NAMES), max_size=2),
        breaks=st.booleans(),
    )
    def begin(self, data: st.DataObject, uploads: list[tuple[str, str]], breaks: bool) -> None:
        """Begin with clients whose forms have come in part, as hypothesis rarely gets so far."""
        for kind, model in uploads:
            self.comes(100_000)
            client = self.clients[-1]
            self.number += 1 + self.number % 2  # so that its model comes first
            client.numbers.append(self.number)
            whole = request(kind, 70_000, self.number, model)
            client.unsent = whole[1000:]
            self.event(partial(client.transport.peer_sends, whole[:1000]))
        self.event(self.router.connect)
        if breaks:
            self.answer_and_break(data)

    def event(self, action: Any) -> None:
        """Do something within the loop, and what follows."""
        self.router.event(action)
        self.collect()

    def collect(self) -> None:
        observer = self.server.observer
        self.ended += observer.ended
        observer.flush_records()

    # Clients.

    @precondition(lambda self: len(self.clients) < 4 and not self.draining)
    @rule(room=st.sampled_from([0, 300, 100_000]))
    def comes(self, room: int) -> None:
        transport = ClientTransport(self.loop, room)
        self.router.accept(transport)
        self.clients.append(Client(transport))

    @precondition(lambda self: any(c.open for c in self.clients))
    @rule(
        data=st.data(), kind=KINDS, size=SIZES, model=NAMES,
        ahead=st.booleans(), least=st.integers(0, 200),
    )  # fmt: skip
    def sends(
        self, data: st.DataObject, kind: str, size: int, model: str, ahead: bool, least: int
    ) -> None:
        """Send some of a request, or the rest of the one that was begun."""
        client = pick([c for c in self.clients if c.open], data)
        if not client.unsent:
            self.number += 1
            client.numbers.append(self.number)
            client.unsent = request(kind, size, self.number, model)
        count = len(client.unsent) if ahead else min(least, len(client.unsent))
        piece, client.unsent = client.unsent[:count], client.unsent[count:]
        if not client.unsent:
            client.complete = len(client.numbers)
        self.event(lambda: client.transport.peer_sends(piece))

    @precondition(lambda self: any(c.open and c.unsent for c in self.clients))
    @rule(data=st.data(), count=st.sampled_from([1, 1000, 20_000, 70_000]))
    def goes_on(self, data: st.DataObject, count: int) -> None:
        client = pick([c for c in self.clients if c.open and c.unsent], data)
        piece, client.unsent = client.unsent[:count], client.unsent[count:]
        if not client.unsent:
            client.complete = len(client.numbers)
        self.event(lambda: client.transport.peer_sends(piece))

    @precondition(lambda self: bool(self.clients))
    @rule(data=st.data(), count=st.sampled_from([1, 50, 100_000]))
    def reads(self, data: st.DataObject, count: int) -> None:
        client = pick(self.clients, data)
        if not client.transport.lost:
            self.event(lambda: client.transport.peer_reads(count))

    @precondition(lambda self: any(c.open for c in self.clients))
    @rule(data=st.data(), how=st.sampled_from(["closes", "resets", "vanishes"]))
    def leaves(self, data: st.DataObject, how: str) -> None:
        client = pick([c for c in self.clients if c.open], data)
        client.gone = True
        self.event(getattr(client.transport, f"peer_{how}"))

    # Backends.

    @precondition(lambda self: bool(self.loop.connecting))
    @rule(data=st.data(), error=st.sampled_from([None, None, ConnectionRefusedError("no")]))
    def connects(self, data: st.DataObject, error: OSError | None) -> None:
        asked = pick(self.loop.connecting, data)
        if not asked.done():
            self.event(lambda: asked.set_exception(error) if error else asked.set_result(None))

    @precondition(lambda self: bool(self.loop.backends))
    @rule(data=st.data(), count=st.sampled_from([100, 50_000, 10**6]))
    def takes(self, data: st.DataObject, count: int) -> None:
        transport = pick(self.loop.backends, data)
        if not transport.lost:
            self.event(lambda: transport.peer_reads(count))

    @precondition(lambda self: bool(self.loop.backends))
    @rule(data=st.data(), how=st.sampled_from(["answer", "more", "busy", "close", "break"]))
    def answers(self, data: st.DataObject, how: str) -> None:
        if how == "break":
            self.answer_and_break(data)
            return
        transport = pick(self.loop.backends, data)
        connection = transport.protocol
        if transport.lost or getattr(connection, "_sink", None) is None:
            return
        if how == "close":
            self.event(transport.peer_closes)
        elif not connection._in_body:
            number = int(_NUMBER.findall(transport.sent + transport.unsent)[-1])
            body = b"%10d" % number + b"y" * (190 if how == "more" else 0)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            answer = BUSY if how == "busy" else head + body[:150]
            self.event(lambda: transport.peer_sends(answer))
        else:
            self.event(lambda: transport.peer_sends(b"y" * 50))

    def answer_and_break(self, data: st.DataObject) -> None:
        """Answer and reset the connection, while more of the request may come."""
        waiting = [t for t in self.loop.backends if not t.lost and awaits_answer(t.protocol)]
        if not waiting:
            return
        uploads = [t for t in waiting if t.protocol._request_open]
        transport = pick(uploads or waiting, data)
        owner = transport.protocol._sink
        (client,) = [c for c in self.clients if c.connection._session.exchange is owner]
        number = int(_NUMBER.findall(transport.sent + transport.unsent)[-1])
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n%10d" % number
        piece = client.unsent[: data.draw(st.sampled_from([0, 1000, 20_000]))]
        client.unsent = client.unsent[len(piece) :]
        if piece and not client.unsent:
            client.complete = len(client.numbers)
        room = data.draw(st.sampled_from([0, 10**6, 10**6]))
        whole = data.draw(st.booleans())
        before, ejected = len(client.answers()), self.ejected()

        def both() -> None:
            transport.peer_reads(room)
            transport.peer_answers_and_breaks(answer if whole else answer[:-1])
            if piece and client.open:
                client.transport.peer_sends(piece)

        self.event(both)
        told = client.answers()[before:]
        assert not any(b'"backend_' in body for _, body in told), "what it said is lost"
        assert self.ejected() <= ejected, "it answered"

    def ejected(self) -> set[str]:
        replicas = [r for b in self.server.models.all().values() for r in b.replicas]
        return {replica.pool.name for replica in replicas if replica.ejected}

    # The router.

    @rule(seconds=st.sampled_from([1, 6, 21, 80]))
    def time_passes(self, seconds: float) -> None:
        waiting = {
            id(c): (c.transport._write_paused, bool(c.transport.incoming)) for c in self.clients
        }
        before = {id(c): c.answers() for c in self.clients}
        self.router.sweep(seconds)
        self.collect()
        for client in self.clients:
            new = client.answers()[len(before[id(client)]) :]
            if 408 in [status for status, _ in new]:
                assert waiting[id(client)] == (False, False), "408 for what was not read"

    @rule(config=st.sampled_from([CONFIG, LESS_MEMORY]))
    def reloads(self, config: dict[str, Any]) -> None:
        checked = check({"accessLog": "off", **config})
        self.event(lambda: self.server.reload(checked))
        self.most = max(self.server.budget.limit, self.server.budget.held)

    @precondition(lambda self: len(self.clients) > 2 and not self.draining)
    @rule()
    def drains(self) -> None:
        self.draining = True
        self.event(self.server.begin_drain)
        for client in self.clients:
            exchange = client.connection._session.exchange
            assert not (exchange.active and exchange.queued)

    # What holds after each event.

    @invariant()
    def memory_is_counted_as_it_is_held(self) -> None:
        clients = [c.connection for c in self.clients if not c.transport.lost]
        for client in clients:
            assert client._session._share.held == client._session.held_bytes()
        assert self.server.budget.held == sum(client._session._share.held for client in clients)
        holders = [client for client in clients if client._session._share.held]
        assert self.server.budget.held <= self.most or len(holders) == 1
        self.most = max(self.server.budget.limit, self.server.budget.held)
        assert self.server.connection_limit.taken == len(self.server.clients) == len(clients)

    @invariant()
    def a_quota_counts_the_requests_that_are_under_way(self) -> None:
        quota = self.server.quotas.get("team")
        assert quota is not None
        sessions = [c.connection._session for c in self.clients]
        counted = [s for s in sessions if s.record.quota is not None]
        assert quota.row[0] == len(counted) <= 2
        assert all(session.exchange.active for session in counted)

    @invariant()
    def nobody_is_read_beyond_a_bound(self) -> None:
        for client in self.clients:
            session = client.connection._session
            if not client.transport.lost and session.exchange.active:
                assert len(session.incoming.reader.pending) <= MAX_PIPELINED_BYTES + READ_BYTES

    @invariant()
    def requests_are_answered_once_and_in_time(self) -> None:
        for client in self.clients:
            answers = client.answers()
            assert len(answers) <= len(client.numbers)
            for index, (status, body) in enumerate(answers[client.judged :], client.judged):
                if status == 408:
                    assert index >= client.complete, "408 for a request that was complete"
                if status == 200 and body[:1] == b" ":
                    assert int(body[:10]) == client.numbers[index], "the answer of another request"
            client.judged = len(answers)

    @invariant()
    def deadlines_run_for_what_the_client_has_to_do(self) -> None:
        for client in self.clients:
            if client.transport.lost or client.transport.is_closing():
                continue
            session = client.connection._session
            assert session.deadline.waits_for == session.waits_for()
            if session.exchange.active and session.incoming.stream is None:
                assert session.deadline.at == float("inf")

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.router.close()

    def finish(self) -> None:
        """Cut everybody off: each request that began has ended once, and all memory is back."""

        def cut_off() -> None:
            self.server.begin_drain()
            self.server.cut_off()

        self.event(cut_off)
        self.requests_are_answered_once_and_in_time()
        for client in self.clients:
            if not client.transport.lost:
                self.event(client.transport.abort)
        assert not self.server.clients
        assert self.server.budget.held == self.server.connection_limit.taken == 0
        for pool in [p for b in self.server.models.all().values() for p in b.pools]:
            assert pool.outstanding == 0
        written = Counter(status for client in self.clients for status, _ in client.answers())
        noted = Counter(e.status for e in self.ended if not was_cut(e))
        assert noted == written
        assert len({e.request_id for e in self.ended}) == len(self.ended)


def awaits_answer(connection: Any) -> bool:
    """Whether it is a request's (none of a probe), of whose response nothing has come."""
    return getattr(connection, "_sink", None) is not None and not connection._in_body


def was_cut(request: EndedRequest) -> bool:
    """Whether it has no whole response."""
    if request.end in ("shutting_down", "timeout", "overloaded", "request_too_large"):
        return request.status == 200  # it came within the response, not in place of it
    return request.end in (
        *("client_left", "client_stalled", "backend_broke", "backend_stalled", "idle"),
    )


@pytest.mark.filterwarnings("ignore:.*event loop.*:DeprecationWarning")
def test_every_order_of_events_keeps_turns_deadlines_and_memory() -> None:
    run_model(Clients, runs=200, steps=60)
