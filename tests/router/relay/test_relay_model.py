"""Requests, connections and places in every order of events, on fake transports.

A stateful model (hypothesis): clients that read slowly, leave or send ahead, backends that accept,
refuse, answer in pieces, break off or send what nobody asked for, reloads and sweeps. After each
event the invariants of upstream, pool, gate and exchange must hold, and at the end every request
whose client stayed has one whole answer and everything is given back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from llmhop.client.client_socket import LINGERING
from llmhop.models.gate import LocalGate
from llmhop.relay import exchange as exchange_states
from llmhop.relay import upstream_request as upstream_states
from llmhop.upstream.connection import UpstreamConnection
from llmhop.upstream.pool import Pool

from tests.router.support.endpoints import check, post
from tests.router.support.fakes.network import HIGH, FakeTransport
from tests.router.support.fakes.router import FakeRouter, pick, responses
from tests.stateful import run_model

LIMITED = {"url": "http://127.0.0.1:1", "maxConcurrent": 1, "maxQueued": 2}
REPEATED = {"urls": ["http://127.0.0.1:2", "http://127.0.0.1:3"], "retries": 1}
CONFIGS: list[dict[str, Any]] = [
    {"models": {"limited": LIMITED, "repeated": REPEATED}},
    {"models": {"limited": {**LIMITED, "maxConcurrent": 2}, "repeated": LIMITED}},
    {"models": {"limited": {"url": "http://127.0.0.1:4"}}},
]
MOST_CLIENTS = 6
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)

Thing = TypeVar("Thing")


@dataclass
class Client:
    """A client and the numbers of the requests that it sent."""

    transport: FakeTransport
    sent: list[int] = field(default_factory=list)
    gone: bool = False

    @property
    def open(self) -> bool:
        return not (self.gone or self.transport.lost or self.transport.is_closing())

    def answers(self) -> list[tuple[int, bytes]]:
        """The whole responses that it got."""
        return responses(bytes(self.transport.sent))


def upstream_of(client: Client) -> Any:
    return client.transport.protocol._session.exchange._upstream


def some(few: list[Thing], others: list[Thing], data: st.DataObject) -> list[Thing]:
    """Return `few` as often as `others`, so that what is rare is met."""
    return few if data.draw(st.booleans()) and few else others


@dataclass
class Served:
    """A request that a backend has begun to answer."""

    transport: FakeTransport
    rest: bytes


class Relay(RuleBasedStateMachine):
    """The router between fake clients and fake backends."""

    def __init__(self) -> None:
        super().__init__()
        self.router = FakeRouter(CONFIGS[0], backend_room=80)
        self.loop, self.server, self.event = self.router.loop, self.router.server, self.router.event
        self.number = 0
        self.clients: list[Client] = []
        self.taken: dict[FakeTransport, int] = {}
        self.serving: dict[FakeTransport, Served] = {}
        self.noisy: list[FakeTransport] = []
        self.pools: set[Pool] = set()
        self.gates: set[LocalGate] = set()
        self.server.pools.limit = MOST_CLIENTS
        self.note_parts()

    @initialize(
        rooms=st.lists(st.sampled_from([0, 90, 300, 100_000]), min_size=1, max_size=3),
        prompt=st.booleans(),
        before=st.lists(st.sampled_from(["limited", "repeated"]), max_size=3),
    )
    def begin(self, rooms: list[int], prompt: bool, before: list[str]) -> None:
        """Begin with clients, of which some were served `before`.

        Hypothesis leaves out some of the rules in most runs, and without connections to reuse the
        others would find little to do.
        """
        self.router.prompt = prompt
        for room in rooms:
            self.client_comes(room)
        for client, model in zip(self.clients, before, strict=False):
            self.send(client, model, 10, 0)
        self.all_goes_on()

    def note_parts(self) -> None:
        for model in self.server.models.all().values():
            self.pools.update(model.pools)
            if isinstance(model.gate, LocalGate):
                self.gates.add(model.gate)

    def exchanges(self) -> list[Any]:
        transports = [c.transport for c in self.clients if not c.transport.lost]
        return [transport.protocol._session.exchange for transport in transports]

    def waiting(self, unread: bool = False) -> list[FakeTransport]:
        """Backends' connections that hold a whole request which is not being answered."""
        found = []
        for transport in self.loop.backends:
            if transport.is_closing() or transport in self.serving:
                continue
            if self.request_on(transport, unread) is not None:
                found.append(transport)
        return found

    def request_on(self, transport: FakeTransport, unread: bool = False) -> int | None:
        """The number of a whole request; with `unread`, also of what its backend has yet to read.

        No other request may be written behind it.
        """
        data = bytes(transport.sent[self.taken.get(transport, 0) :])
        if unread:
            data += transport.unsent
        head, end, rest = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or len(rest) < int(length[1]):
            return None
        assert len(rest) == int(length[1])
        match = re.search(rb'"n":(\d+)', rest)
        assert match is not None
        return int(match[1])

    # Few rules, because hypothesis leaves out some of them in most runs.

    @rule(
        data=st.data(),
        model=st.sampled_from(["limited", "limited", "repeated", "repeated", "none"]),
        size=st.sampled_from([0, 10, 300]),
        cut=st.integers(0, 60),
    )
    def client_sends(self, data: st.DataObject, model: str, size: int, cut: int) -> None:
        clients = [c for c in self.clients if c.open]
        if clients:
            self.send(pick(clients, data), model, size, cut)

    def send(self, client: Client, model: str, size: int, cut: int) -> None:
        self.number += 1
        body = b'{"model":"%b","n":%d,"x":"%b"}' % (model.encode(), self.number, b"x" * size)
        request = post(body)
        client.sent.append(self.number)
        self.event(lambda: client.transport.peer_sends(request[:cut]))
        self.event(lambda: client.transport.peer_sends(request[cut:]))

    @rule(
        data=st.data(),
        what=st.sampled_from(["refuses", "connects", "reads", "reads", "answers", "answers"]),
        count=st.sampled_from([1, 20, 60, 100, 600, 100_000]),
        but=st.sampled_from([0, 9]),
        size=st.sampled_from([0, 5, HIGH, 500]),
    )
    def backend_acts(self, data: st.DataObject, what: str, count: int, but: int, size: int) -> None:
        """Refuse or accept, read `count` bytes or all `but` some, or answer with `count` bytes.

        It may answer before it has read the whole request.
        """
        if what in ("refuses", "connects"):
            if self.loop.connecting:
                asked = pick(self.loop.connecting, data)
                error = ConnectionRefusedError("no")
                refuses = what == "refuses"
                self.event(
                    lambda: asked.set_exception(error) if refuses else asked.set_result(None)
                )
        elif what == "reads":
            slow = [transport for transport in self.loop.backends if transport.unsent]
            if slow:
                transport = pick(slow, data)
                most = len(transport.unsent) - but if but else count
                self.event(lambda: transport.peer_reads(max(0, min(count, most))))
        elif data.draw(st.booleans()) and self.serving:
            self.send_on(pick(list(self.serving), data), count)
        elif waiting := self.waiting(unread=True):
            self.answer(pick(waiting, data), size, count)

    def answer(self, transport: FakeTransport, size: int, first: int) -> None:
        number = self.request_on(transport, unread=True)
        self.taken[transport] = len(transport.sent) + len(transport.unsent)
        body = b"%d:" % (number or 0) + b"y" * size
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        self.serving[transport] = Served(transport, whole)
        self.send_on(transport, first)

    def send_on(self, transport: FakeTransport, count: int) -> None:
        served = self.serving[transport]
        piece, served.rest = served.rest[:count], served.rest[count:]
        if not served.rest or transport.is_closing():
            del self.serving[transport]
        self.event(lambda: transport.peer_sends(piece))

    @rule(
        data=st.data(),
        what=st.sampled_from(
            ["comes", "reads", "leaves", "leaves", "breaks", "reload", "reload", "time", "calm"]
        ),
        count=st.sampled_from([1, 50, 100_000]),
        config=st.sampled_from(CONFIGS),
        seconds=st.sampled_from([0.5, 5, 70]),
    )
    def anybody_acts(
        self, data: st.DataObject, what: str, count: int, config: dict[str, Any], seconds: float
    ) -> None:
        """Whatever ends something, and what clients do beside that."""
        clients = [c for c in self.clients if c.open]
        backends = [t for t in self.loop.backends if not t.lost]
        if what == "comes" and len(self.clients) < MOST_CLIENTS:
            self.client_comes(data.draw(st.sampled_from([0, 300, 100_000])))
        elif what == "reads" and (slow := [c for c in self.clients if c.transport.unsent]):
            transport = pick(slow, data).transport
            self.event(lambda: transport.peer_reads(count))
        elif what == "leaves" and clients:
            waiting = [c for c in clients if upstream_of(c)._attempt is not None]
            self.client_leaves(pick(some(waiting, clients, data), data), data)
        elif what == "breaks" and backends:
            idle = [transport for transport in backends if self.is_idle(transport)]
            self.backend_fails(pick(some(idle, backends, data), data), data)
        elif what == "reload":
            checked = check({"accessLog": "off", **config})
            self.event(lambda: self.server.reload(checked))
            self.server.pools.limit = MOST_CLIENTS
            self.note_parts()
        elif what == "time":
            self.router.sweep(seconds)
        elif what == "calm":
            self.all_goes_on()

    def client_comes(self, room: int) -> None:
        transport = FakeTransport(self.loop, room)
        self.router.accept(transport)
        self.clients.append(Client(transport))

    def client_leaves(self, client: Client, data: st.DataObject) -> None:
        client.gone = True
        transport = client.transport
        closes = data.draw(st.booleans())
        self.event(transport.peer_closes if closes else transport.peer_resets)

    def is_idle(self, transport: FakeTransport) -> bool:
        return any(transport.protocol in pool._idle for pool in self.pools)

    def backend_fails(self, transport: FakeTransport, data: st.DataObject) -> None:
        how = data.draw(st.sampled_from(["close", "reset", "noise"]))
        self.serving.pop(transport, None)
        if how != "noise":
            self.event(transport.peer_closes if how == "close" else transport.peer_resets)
            return
        idle = self.is_idle(transport)
        self.noisy.append(transport)
        self.event(lambda: transport.peer_sends(b"HTTP/1.1 2"))
        assert transport.is_closing() or not idle, "what nobody asked for closes the connection"

    def all_goes_on(self) -> None:
        """Have everybody do their part, until nobody has anything left to do."""
        for _ in range(200):
            for client in self.clients:
                if not client.transport.lost:
                    self.event(partial(client.transport.peer_reads, 100_000))
            self.event(self.router.connect)
            for transport in self.loop.backends:
                if not transport.lost:
                    self.event(partial(transport.peer_reads, 100_000))
            for transport in list(self.serving):
                self.send_on(transport, 100_000)
            for transport in self.waiting():
                self.answer(transport, 0, 100_000)
            if not (self.waiting(unread=True) or self.loop.connecting or self.serving):
                break

    # What holds after each event.

    @invariant()
    def idle_connections_are_unpaused_and_empty(self) -> None:
        idle = [connection for pool in self.pools for connection in pool._idle]
        assert len(idle) == len(set(idle))
        for connection in idle:
            transport = cast(FakeTransport, connection._transport)
            assert connection._sink is None
            assert transport.reading
            assert not transport.unsent
            assert not connection.stalled

    @invariant()
    def active_connections_have_one_owner_and_pause_with_its_client(self) -> None:
        sent = [e for e in self.exchanges() if e._upstream._connection is not None]
        owners = {id(e._upstream._connection): e for e in sent}
        by_exchange = {id(c.transport.protocol._session.exchange): c for c in self.clients}
        for transport in self.loop.backends:
            connection = transport.protocol
            if transport.is_closing() or not isinstance(connection, UpstreamConnection):
                continue
            if connection._sink is None:
                assert any(connection in pool._idle for pool in self.pools), "it is leaked"
                continue
            assert owners[id(connection)] is connection._sink
            client = by_exchange[id(connection._sink)]
            assert transport.reading != client.transport._write_paused

    @invariant()
    def states_say_what_is_there(self) -> None:
        for exchange in self.exchanges():
            upstream = exchange._upstream
            assert hasattr(upstream, "_owner") == hasattr(exchange, "_downstream")
            assert hasattr(exchange, "_downstream") == (exchange.state != exchange_states.IDLE)
            assert (upstream.state == upstream_states.IDLE) == (not exchange.active)
            assert (upstream._attempt is not None) == (upstream.state == upstream_states.CONNECTING)
            assert (upstream._connection is not None) == (upstream.state == upstream_states.SENT)
            assert exchange._task is None

    @invariant()
    def connections_are_made_for_who_waits_or_comes_next(self) -> None:
        waited_for = sum(e._upstream._attempt is not None for e in self.exchanges() if e.active)
        kept = sum(len(pool._abandoned) for pool in self.pools if not pool._retired)
        probes = sum(pool.probing for pool in self.pools)
        assert len(self.loop.connecting) <= waited_for + kept + probes

    @invariant()
    def connections_are_no_more_than_may_be(self) -> None:
        taken = sum(pool.outstanding + pool.kept for pool in self.pools)
        assert taken <= self.server.pools.limit

    @invariant()
    def places_are_held_by_who_runs(self) -> None:
        exchanges = [e for e in self.exchanges() if e.active]
        for pool in self.pools:
            assert pool.outstanding == sum(e._upstream.choice._pool is pool for e in exchanges)
        for gate in self.gates:
            inside = [e for e in exchanges if e._upstream._gate is gate]
            assert gate.active == sum(not e.queued for e in inside)
            assert gate.queued == sum(e.queued for e in inside)

    @invariant()
    def answers_are_whole_and_in_turn(self) -> None:
        for client in self.clients:
            answers = client.answers()
            # A request that could not be read is answered once, before the connection closes.
            assert len(answers) <= len(client.sent) + 1
            for number, (status, body) in zip(client.sent, answers, strict=False):
                if status == 200:
                    assert body.startswith(b"%d:" % number), (number, body)

    def teardown(self) -> None:
        """Let everybody do their part: nobody who stayed is left without an answer."""
        try:
            self.finish()
        finally:
            self.router.close()

    def finish(self) -> None:
        for transport in self.noisy:  # nobody could tell their noise from an answer's beginning
            if not transport.lost:
                self.event(transport.peer_resets)
        self.all_goes_on()
        for client in self.clients:
            if client.open and client.transport.protocol._session.socket.state != LINGERING:
                assert len(client.answers()) == len(client.sent)
        for client in self.clients:
            if not client.transport.lost:
                self.event(client.transport.peer_resets)
        self.places_are_held_by_who_runs()
        assert all(pool.outstanding == 0 for pool in self.pools)
        assert all(gate.active == gate.queued == 0 for gate in self.gates)
        assert not self.server.clients
        for transport in self.loop.backends:
            if not transport.lost and isinstance(transport.protocol, UpstreamConnection):
                assert transport.protocol._sink is None


@pytest.mark.filterwarnings("ignore:.*event loop.*:DeprecationWarning")
def test_every_order_of_events_keeps_the_invariants() -> None:
    run_model(Relay, runs=120, steps=80)
