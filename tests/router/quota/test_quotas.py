"""Quotas where random runs rarely get: times to wait, who is forgotten, processes that end."""

from __future__ import annotations

from typing import Any

import pytest
from llmhop.config.tables.client import ClientConfig
from llmhop.errors import ApiError
from llmhop.quota.quotas import Quotas
from llmhop.quota.store import QuotaStore

from tests.router.support.endpoints import check


def clients(**limits: dict[str, Any]) -> dict[str, ClientConfig]:
    named = {name: {"token": name, **keys} for name, keys in limits.items()}
    found = check({"models": {"m": {"url": "http://h"}}, "clients": named}).clients
    assert found is not None
    return dict(found)


class Clock:
    def __init__(self) -> None:
        self.now = 600.0

    def __call__(self) -> float:
        return self.now


def enter(quotas: Quotas, name: str) -> int | None:
    """Have a request come; return the seconds to wait where it is refused."""
    quota = quotas.get(name)
    assert quota is not None
    try:
        quota.enter()
    except ApiError as error:
        return error.retry_after
    return None


@pytest.mark.parametrize(
    ("requests", "at", "wait"),
    [
        # Ten requests at the beginning of a minute, of which ten are allowed: until one is over.
        (10, 0, 66),
        (10, 30, 36),
        (10, 59.5, 7),
        # In the next minute they count less and less.
        (10, 60, 6),
        (10, 63, 3),
        (10, 65.5, 1),
        (10, 66, None),
        (9, 59, None),
    ],
)
def test_who_is_refused_is_told_when_there_is_room(
    requests: int, at: float, wait: int | None
) -> None:
    clock = Clock()
    quotas = Quotas(QuotaStore(1), 0, clock)
    quotas.serve(clients(a={"requestsPerMinute": 10}))
    assert [enter(quotas, "a") for _ in range(requests)] == [None] * requests
    clock.now += at
    assert enter(quotas, "a") == wait
    if wait is not None:
        clock.now += wait
        assert enter(quotas, "a") is None


def test_of_two_limits_the_longer_time_is_told() -> None:
    clock = Clock()
    quotas = Quotas(QuotaStore(1), 0, clock)
    quotas.serve(clients(a={"requestsPerMinute": 2, "tokensPerMinute": 10}))
    quota = quotas.get("a")
    assert quota is not None
    for _ in range(2):
        quota.enter()
        quota.leave()
    quota.charge(100)
    wait = enter(quotas, "a")
    assert wait == 115
    clock.now += wait
    assert enter(quotas, "a") is None


def test_what_is_refused_uses_nothing() -> None:
    clock = Clock()
    quotas = Quotas(QuotaStore(1), 0, clock)
    quotas.serve(clients(a={"requestsPerMinute": 1}))
    assert enter(quotas, "a") is None
    assert [enter(quotas, "a") for _ in range(50)] == [120] * 50
    clock.now += 120
    assert enter(quotas, "a") is None


def test_a_client_without_limits_writes_to_the_row_of_no_other() -> None:
    store = QuotaStore(2)
    first, second = Quotas(store, 0, Clock()), Quotas(store, 1, Clock())
    first.serve(clients(a={"maxConcurrent": 2}, b={"maxConcurrent": 1}))
    assert enter(first, "a") is None
    gone = first.get("a")
    assert gone is not None
    for quotas in (first, second):
        quotas.serve(clients(a={}, b={"maxConcurrent": 1}))
    assert enter(first, "b") is None
    gone.leave()
    gone.charge(1)
    assert enter(second, "b") == 1


def test_requests_of_a_process_that_ended_are_under_way_no_more() -> None:
    store = QuotaStore(2)
    first, second = Quotas(store, 0, Clock()), Quotas(store, 1, Clock())
    for quotas in (first, second):
        quotas.serve(clients(a={"maxConcurrent": 1}))
    assert enter(first, "a") is None
    assert enter(second, "a") == 1
    store.ended(0)
    assert enter(second, "a") is None
