"""The limit on requests at once and the queue before it."""

from __future__ import annotations

from llmhop.models.gate import LocalGate


class Request:
    """One that may wait; it notes in a shared list that it was let in."""

    def __init__(self, name: str, order: list[str]) -> None:
        self.name = name
        self.order = order

    def admitted(self) -> None:
        self.order.append(self.name)

    def refused(self) -> None:
        self.order.append(f"not {self.name}")


def requests(names: str) -> tuple[list[Request], list[str]]:
    order: list[str] = []
    return [Request(name, order) for name in names], order


def start(gate: LocalGate, request: Request) -> str:
    """What becomes of a request that comes."""
    if gate.enter():
        return "in"
    return "waits" if gate.wait(request) else "refused"


def test_a_place_goes_to_who_has_waited_longest() -> None:
    gate = LocalGate(2, 10)
    some, order = requests("abcde")
    assert [start(gate, request) for request in some] == ["in", "in", "waits", "waits", "waits"]
    assert (gate.active, gate.queued, order) == (2, 3, [])
    gate.leave()
    assert order == ["c"]
    gate.leave()
    gate.leave()
    assert (gate.active, gate.queued, order) == (2, 0, ["c", "d", "e"])
    gate.leave()
    gate.leave()
    assert (gate.active, gate.queued) == (0, 0)


def test_a_request_that_gives_up_is_passed_over() -> None:
    gate = LocalGate(1, 10)
    some, order = requests("abc")
    for request in some:
        start(gate, request)
    gate.forget(some[1])
    gate.leave()
    assert order == ["c"]


def test_a_full_queue_refuses_until_somebody_leaves() -> None:
    gate = LocalGate(1, 1)
    some, order = requests("abcd")
    assert [start(gate, request) for request in some] == ["in", "waits", "refused", "refused"]
    gate.leave()
    assert order == ["b"]
    assert start(gate, some[2]) == "waits"


def test_without_a_queue_nobody_waits() -> None:
    gate = LocalGate(1, 0)
    some, _ = requests("ab")
    assert [start(gate, request) for request in some] == ["in", "refused"]


def test_a_higher_limit_lets_in_who_waits_and_a_lower_one_throws_nobody_out() -> None:
    gate = LocalGate(1, 10)
    some, order = requests("abcd")
    for request in some:
        start(gate, request)
    gate.resize(3, 10)
    assert (gate.active, order) == (3, ["b", "c"])
    gate.resize(1, 0)
    assert (gate.active, gate.queued) == (3, 1)
    gate.leave()
    gate.leave()
    assert order == ["b", "c"]
    gate.leave()
    assert order == ["b", "c", "d"]


def test_a_request_that_is_to_wait_no_longer_is_refused_and_forgotten() -> None:
    gate = LocalGate(1, 10)
    some, order = requests("abc")
    for request in some:
        start(gate, request)
    gate.stop_waiting(some[1])
    assert (gate.active, gate.queued, order) == (1, 1, ["not b"])
    gate.leave()
    gate.leave()
    assert (gate.active, gate.queued, order) == (0, 0, ["not b", "c"])
