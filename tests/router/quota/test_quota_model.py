"""Quotas of several processes in every order of events.

A stateful model (hypothesis): requests come and end in any process, report tokens, time passes,
processes end and others take their place, and reloads reach one process after the other.
"""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from llmhop.config.tables.client import ClientConfig
from llmhop.errors import ApiError
from llmhop.quota.quota import Quota
from llmhop.quota.quotas import Quotas
from llmhop.quota.store import QuotaStore

from tests.router.support.endpoints import check
from tests.stateful import run_model

PROCESSES = 3
NAMES = ["a", "b", "c"]
CONFIGS: list[dict[str, Any]] = [
    {"a": {"maxConcurrent": 2}, "b": {"requestsPerMinute": 5}, "c": {"tokensPerMinute": 100}},
    {"a": {"maxConcurrent": 1}, "c": {"tokensPerMinute": 50, "maxConcurrent": 3}},
    {"0": {"maxConcurrent": 1}, "a": {"maxConcurrent": 3, "requestsPerMinute": 4}, "b": {}},
]


def clients(number: int) -> dict[str, ClientConfig]:
    named = {name: {"token": name, **keys} for name, keys in CONFIGS[number].items()}
    found = check({"models": {"m": {"url": "http://h"}}, "clients": named}).clients
    assert found is not None
    return dict(found)


CLIENTS = [clients(number) for number in range(len(CONFIGS))]


class Processes(RuleBasedStateMachine):
    """Processes that count in one store, and what each client has done since when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.store = QuotaStore(PROCESSES)
        self.configs = [0] * PROCESSES
        self.processes: list[Quotas | None] = [self.new(slot) for slot in range(PROCESSES)]
        self.open: list[tuple[int, str, Quota]] = []
        self.forgotten: list[Quota] = []
        self.used: list[tuple[int, str, str, int, int]] = []
        """Process, client, what, the minute, how much."""

    def new(self, slot: int) -> Quotas:
        quotas = Quotas(self.store, slot, lambda: self.now)
        quotas.serve(CLIENTS[self.configs[slot]])
        return quotas

    def limited(self, slot: int) -> list[str]:
        return [name for name, client in CLIENTS[self.configs[slot]].items() if client.is_limited]

    def peers(self, slot: int) -> list[int]:
        """The processes that count the same clients, which a reload may have left apart."""
        names = self.limited(slot)
        return [other for other in range(PROCESSES) if self.limited(other) == names]

    def in_flight(self, slot: int, name: str) -> int:
        peers = self.peers(slot)
        return sum(who == name and at in peers for at, who, _ in self.open)

    def use(self, slot: int, name: str, what: str) -> float:
        """How much a client has used in the last sixty seconds, as the limits see it."""
        minute, passed = divmod(self.now, 60)
        peers = self.peers(slot)
        mine = [
            (m, n) for at, who, w, m, n in self.used if at in peers and (who, w) == (name, what)
        ]
        current, before = (sum(n for m, n in mine if m == at) for at in (minute, minute - 1))
        return current + before * (60 - passed) / 60

    @rule(
        slots=st.lists(st.integers(0, PROCESSES - 1), min_size=1, max_size=6),
        name=st.sampled_from(NAMES),
        tokens=st.sampled_from([None, 0, 30, 200]),
    )
    def requests_come(self, slots: list[int], name: str, tokens: int | None) -> None:
        """With `tokens`, each ends at once."""
        for slot in slots:
            before = len(self.open)
            self.comes(slot, name)
            if tokens is not None and len(self.open) > before:
                self.ends(len(self.open) - 1, tokens)

    def comes(self, slot: int, name: str) -> None:
        quotas = self.processes[slot]
        quota = None if quotas is None else quotas.get(name)
        if quota is None:
            assert quotas is None or name not in self.limited(slot)
            return
        limits = CLIENTS[self.configs[slot]][name]
        try:
            quota.enter()
        except ApiError as error:
            assert error.status == 429
            assert error.retry_after
            assert self.exceeded(slot, limits, name)
            self.there_is_room_in(error.retry_after, slot, limits, name)
            return
        assert not self.exceeded(slot, limits, name)
        self.open.append((slot, name, quota))
        self.used.append((slot, name, "requests", int(self.now // 60), 1))

    def exceeded(self, slot: int, limits: ClientConfig, name: str) -> bool:
        """Whether a client has had what it may."""
        return (
            (limits.max_concurrent or math.inf) <= self.in_flight(slot, name)
            or (limits.requests_per_minute or math.inf) < self.use(slot, name, "requests") + 1
            or (limits.tokens_per_minute or math.inf) - 1 < self.use(slot, name, "tokens")
        )

    def there_is_room_in(self, seconds: int, slot: int, limits: ClientConfig, name: str) -> None:
        """See that the time that a client is told is enough, and no second too much."""
        before = self.now
        try:
            if (limits.max_concurrent or math.inf) <= self.in_flight(slot, name):
                return
            self.now = before + seconds + 0.001
            assert not self.exceeded(slot, limits, name)
            self.now = before + seconds - 1.001
            assert seconds == 1 or self.exceeded(slot, limits, name)
        finally:
            self.now = before

    @precondition(lambda self: bool(self.open))
    @rule(data=st.data(), tokens=st.sampled_from([0, 1, 40, 1000]))
    def a_request_ends(self, data: st.DataObject, tokens: int) -> None:
        self.ends(data.draw(st.integers(0, len(self.open) - 1)), tokens)

    def ends(self, index: int, tokens: int) -> None:
        slot, name, quota = self.open.pop(index)
        quota.leave()
        quota.charge(tokens)
        self.used.append((slot, name, "tokens", int(self.now // 60), tokens))

    @precondition(lambda self: bool(self.forgotten))
    @rule()
    def a_request_ends_whose_client_has_no_limits_now(self) -> None:
        quota = self.forgotten.pop()
        quota.leave()
        quota.charge(5)

    @rule(seconds=st.sampled_from([0.5, 7, 29.5, 45, 60]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(slot=st.integers(0, PROCESSES - 1), replaced=st.booleans())
    def a_process_ends(self, slot: int, replaced: bool) -> None:
        self.store.ended(slot)
        self.open = [request for request in self.open if request[0] != slot]
        self.processes[slot] = self.new(slot) if replaced else None

    @rule(slot=st.integers(0, PROCESSES - 1))
    def another_takes_its_place(self, slot: int) -> None:
        if self.processes[slot] is None:
            self.processes[slot] = self.new(slot)

    @rule(config=st.integers(0, len(CONFIGS) - 1), slots=st.permutations(range(PROCESSES)))
    def a_reload_begins_and_ends(self, config: int, slots: list[int]) -> None:
        for slot in slots:
            self.take(slot, config)

    @rule(config=st.integers(0, len(CONFIGS) - 1), slot=st.integers(0, PROCESSES - 1))
    def a_reload_reaches_one(self, config: int, slot: int) -> None:
        self.take(slot, config)

    def take(self, slot: int, config: int) -> None:
        quotas = self.processes[slot]
        if quotas is None:
            return
        self.configs[slot] = config
        quotas.serve(CLIENTS[config])
        # Who has no limits any more begins anew when it has some again.
        gone = [o for o in self.open if o[0] == slot and quotas.get(o[1]) is None]
        self.forgotten += [quota for _, _, quota in gone]
        self.open = [o for o in self.open if o not in gone]
        self.used = [u for u in self.used if u[0] != slot or quotas.get(u[1]) is not None]

    @invariant()
    def every_process_counts_its_own(self) -> None:
        for slot, quotas in enumerate(self.processes):
            for name in NAMES:
                quota = None if quotas is None else quotas.get(name)
                if quota is not None:
                    mine = sum((s, n) == (slot, name) for s, n, _ in self.open)
                    assert quota.row[0] == mine


def test_every_order_of_events_keeps_the_limits() -> None:
    run_model(Processes, runs=150, steps=40)
