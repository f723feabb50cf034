"""What the clients of a process hold in memory is counted as it is, whatever happens in one turn.

A stateful model (hypothesis) on fake transports. Unlike in test_client_model, events coincide here:
a client sends, leaves or turns out to be gone, a backend answers, before the event loop has run
what follows from any of it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.router.conftest import StartFake
from tests.router.support.fakes.network import FakeTransport
from tests.router.support.fakes.router import FakeRouter, pick
from tests.stateful import run_model

CONFIG: dict[str, Any] = {
    "models": {"m": {"url": "http://127.0.0.1:1", "maxConcurrent": 1, "maxQueued": 1}},
    "maxBodyBytes": 100_000,
    "maxBufferedBytes": 150_000,
}
TARGETS = [b"/metrics", b"/ready", b"/health", b"/x?model=m"]


def get(target: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: r\r\n\r\n" % target


def post(size: int) -> bytes:
    body = b'{"model":"m","x":"%b"}' % (b"x" * size)
    return b"POST /x HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


# Without /metrics, whose page differs from run to run.
REQUESTS = st.sampled_from([get(target) * 2500 for target in TARGETS[1:]] + [post(9), post(70_000)])


class Memory(RuleBasedStateMachine):
    """The router, fake clients, and a backend that takes what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.router = FakeRouter(CONFIG, backend_room=500)
        self.loop, self.server = self.router.loop, self.router.server

    def open(self) -> list[FakeTransport]:
        return [c for c in self.router.clients if not c.is_closing() and not c.peer_closed]

    @precondition(lambda self: len(self.open()) < 3)
    @rule(room=st.sampled_from([0, 300, 10**6]))
    def comes(self, room: int) -> None:
        self.router.client(room)

    @precondition(lambda self: self.open())
    @rule(data=st.data(), raw=REQUESTS, missing=st.sampled_from([0, 0, 10]))
    def sends(self, data: st.DataObject, raw: bytes, missing: int) -> None:
        client = pick(self.open(), data)
        self.loop.call_soon(client.peer_sends, raw[: len(raw) - missing])

    @precondition(lambda self: self.open())
    @rule(data=st.data(), how=st.sampled_from(["peer_closes", "peer_resets", "peer_vanishes"]))
    def goes(self, data: st.DataObject, how: str) -> None:
        self.loop.call_soon(getattr(pick(self.open(), data), how))

    @precondition(lambda self: self.loop.connecting)
    @rule()
    def connects(self) -> None:
        self.router.connect()

    @precondition(lambda self: self.loop.backends)
    @rule(data=st.data())
    def backend_answers(self, data: st.DataObject) -> None:
        backend = pick(self.loop.backends, data)

        def answers() -> None:
            if not backend.lost and getattr(backend.protocol, "_sink", None) is not None:
                backend.peer_reads(10**6)
                backend.peer_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        self.loop.call_soon(answers)

    @precondition(lambda self: self.router.clients)
    @rule(turns=st.sampled_from([1, 1, 2, 5]))
    def the_loop_turns(self, turns: int) -> None:
        for _ in range(turns):
            self.router.turn()

    @invariant()
    def what_is_held_is_counted(self) -> None:
        protocols = [c.protocol for c in self.router.clients if not c.lost]
        held = [getattr(p, "client", p)._session.held_bytes() for p in protocols]
        assert self.server.budget.held == sum(held)

    def teardown(self) -> None:
        try:
            for client in self.router.clients:
                self.loop.call_soon(client.abort)
            self.router.event(lambda: None)
            assert all(client.lost for client in self.router.clients)
            assert self.server.budget.held == 0
        finally:
            self.router.close()


@pytest.mark.filterwarnings("ignore:.*event loop.*:DeprecationWarning")
def test_what_clients_hold_is_counted_whatever_coincides() -> None:
    run_model(Memory, runs=250, steps=25)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("how", ["peer_closes", "peer_resets", "peer_vanishes", "close", "abort"])
def test_a_client_that_went_holds_nothing(
    target: bytes, before: int, how: str, start_fake: StartFake
) -> None:
    router = start_fake(**CONFIG)
    router.prompt = True
    client = router.client()
    router.loop.call_soon(client.peer_sends, get(target) * 2500)
    for _ in range(before):
        router.turn()
    assert router.server.budget.held or not before
    router.event(getattr(client, how))
    while not client.lost:
        router.event(lambda: None)
        for backend in router.loop.backends:
            router.answer(backend, b"{}")
    assert router.server.budget.held == 0
