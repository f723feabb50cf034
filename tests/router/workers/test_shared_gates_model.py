"""The limits of models over a supervisor and its workers, in every order of events.

Messages take their time, workers die or drain at any moment, reloads change every limit, clients
leave.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from llmhop.models.gate import LocalGate, LocalGates
from llmhop.workers.messages import Acquire, Admitted, QueueFull, StopWaiting
from llmhop.workers.shared_gates import SharedGates

from tests.router.support.fakes.worker import FakeWorker, Limits, Request, models

MODELS = "ab"


class Fleet(RuleBasedStateMachine):
    """A supervisor with workers, as messages and limits go."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: Limits = {"a": (1, 2), "b": (2, 1)}
        self.places = SharedGates(self.answer)
        self.places.serve(models(self.limits))
        self.workers: dict[int, FakeWorker] = {}
        self.dead: dict[int, FakeWorker] = {}
        self.count = 0
        self.reaped = 0
        self.model_of: dict[tuple[int, int], str] = {}
        # The order in which the supervisor heard of who waits, and whom it then let in.
        self.arrived: dict[str, list[tuple[int, int]]] = {name: [] for name in MODELS}
        # What may be active since before a limit was lowered or set.
        self.before: dict[str, int] = dict.fromkeys(MODELS, 0)
        for _ in range(3):
            self.start_worker()

    def answer(self, pid: int, message: Admitted | QueueFull) -> None:
        assert pid != self.reaped, "nobody is there to hear it"
        arrived = self.arrived[self.model_of[pid, message.ticket]]
        if isinstance(message, Admitted):
            first = next(found for found in arrived if found[0] != self.reaped)
            assert first == (pid, message.ticket), "first in, first out"
        arrived.remove((pid, message.ticket))
        worker = self.workers.get(pid)
        if worker is not None:
            worker.down.append(message)

    def start_worker(self) -> None:
        self.count += 1
        self.workers[self.count] = FakeWorker(self.count, self.limits)

    def gate(self, model: str) -> LocalGate:
        gate = self.places._gates.get(model)
        assert gate is not None
        return gate

    @property
    def all_workers(self) -> list[FakeWorker]:
        return [*self.workers.values(), *self.dead.values()]

    def active(self, model: str) -> int:
        """How many requests of a model run, those of dead workers that nobody reaped included."""
        return sum(
            request.state == "active" and request.model == model
            for worker in self.all_workers
            for request in worker.requests
        )

    @rule(data=st.data(), model=st.sampled_from(MODELS))
    def a_request_comes(self, data: st.DataObject, model: str) -> None:
        worker = self.pick(data)
        gate = worker.gates.get(model)
        if gate is None or worker.limits.get(model, (None, 0))[0] is None:
            return  # no model, or no limit
        self.count += 1
        request = Request(self.count, model, gate)
        worker.requests.append(request)
        request.start()
        if worker.draining:
            request.stop_waiting()

    @rule(data=st.data())
    def a_worker_drains(self, data: st.DataObject) -> None:
        self.pick(data).drain()

    @rule(data=st.data())
    def a_request_ends_or_its_client_leaves(self, data: st.DataObject) -> None:
        worker = self.pick(data)
        open_ = [r for r in worker.requests if r.state in ("waits", "active")]
        if open_:
            data.draw(st.sampled_from(open_)).end()

    @rule(data=st.data(), many=st.integers(1, 5))
    def the_supervisor_hears(self, data: st.DataObject, many: int) -> None:
        worker = self.pick(data)
        for _ in range(min(many, len(worker.up))):
            self.hear(worker)

    def hear(self, worker: FakeWorker) -> None:
        message = worker.up.popleft()
        if isinstance(message, Acquire):
            self.model_of[worker.pid, message.ticket] = message.model
            self.arrived[message.model].append((worker.pid, message.ticket))
            self.places.acquire(worker.pid, message.ticket, message.model)
        elif isinstance(message, StopWaiting):
            self.places.stop_waiting(worker.pid, message.ticket)
        else:
            arrived = self.arrived[self.model_of[worker.pid, message.ticket]]
            if (worker.pid, message.ticket) in arrived:
                arrived.remove((worker.pid, message.ticket))
            self.places.release(worker.pid, message.ticket)

    @rule(data=st.data(), many=st.integers(1, 5))
    def a_worker_hears(self, data: st.DataObject, many: int) -> None:
        worker = self.pick(data)
        for _ in range(min(many, len(worker.down))):
            worker.hear()

    @rule()
    def all_messages_arrive(self) -> None:
        for worker in self.workers.values():
            while worker.up:
                self.hear(worker)
        for worker in self.workers.values():
            while worker.down:
                worker.hear()
        for worker in self.workers.values():
            if worker.draining:
                assert not worker.gates._waiting, "at a drain nobody waits"
                assert not worker.gates._stopping

    @rule(data=st.data())
    def a_worker_is_killed(self, data: st.DataObject) -> None:
        worker = self.pick(data)
        del self.workers[worker.pid]
        self.dead[worker.pid] = worker

    @precondition(lambda self: self.dead)
    @rule()
    def the_dead_are_reaped_and_replaced(self) -> None:
        for pid in list(self.dead):
            del self.dead[pid]
            self.reaped = pid
            self.places.ended(pid)
            for arrived in self.arrived.values():
                arrived[:] = [found for found in arrived if found[0] != pid]
            self.start_worker()

    @rule(
        limits=st.dictionaries(
            st.sampled_from(MODELS),
            st.tuples(st.one_of(st.none(), st.integers(1, 3)), st.integers(0, 3)),
        )
    )
    def a_reload(self, limits: Limits) -> None:
        self.limits = limits
        for model in MODELS:
            self.before[model] = max(self.before[model], self.gate(model).active)
        self.places.serve(models(limits))
        for worker in self.workers.values():
            worker.down.append(limits)

    def pick(self, data: st.DataObject) -> FakeWorker:
        if not self.workers:
            self.the_dead_are_reaped_and_replaced()
        return data.draw(st.sampled_from(list(self.workers.values())))

    @invariant()
    def no_more_run_than_may(self) -> None:
        for model in MODELS:
            gate = self.gate(model)
            most = gate._max_active
            # Those that ran before the limit was lowered may end in their own time.
            self.before[model] = min(self.before[model], gate.active)
            assert gate.active <= max(most, self.before[model])
            assert self.active(model) <= gate.active

    @invariant()
    def nobody_waits_while_a_place_is_free(self) -> None:
        for model in MODELS:
            gate = self.gate(model)
            assert not gate.queued or gate.active >= gate._max_active
            assert gate.queued == len(self.arrived[model])

    def teardown(self) -> None:
        """At the end, all messages arrive, all requests end, and nothing is left."""
        if self.dead:
            self.the_dead_are_reaped_and_replaced()
        for _ in range(1000):
            for worker in self.workers.values():
                while worker.up:
                    self.hear(worker)
                while worker.down:
                    worker.hear()
            open_ = [
                request
                for worker in self.workers.values()
                for request in worker.requests
                if request.state in ("waits", "active")
            ]
            settled = not any(worker.up or worker.down for worker in self.workers.values())
            running = [request for request in open_ if request.state == "active"]
            if not open_ and settled:
                break
            if settled:
                assert running, "somebody waits for ever"
            if running:
                running[0].end()
        for model in MODELS:
            assert (self.gate(model).active, self.gate(model).queued) == (0, 0)
        for worker in self.workers.values():
            assert not worker.gates._waiting
            assert not worker.gates._tickets
            assert not worker.gates._stopping


Fleet.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestFleet = Fleet.TestCase


def test_a_killed_worker_leaves_the_queue_before_it_gives_back_its_place() -> None:
    answers: list[tuple[int, Admitted | QueueFull]] = []
    places = SharedGates(lambda pid, message: answers.append((pid, message)))
    places.serve(models({"a": (1, 5)}))
    for ticket in range(3):
        places.acquire(7, ticket, "a")
    places.acquire(8, 0, "a")
    places.ended(7)
    assert answers == [(7, Admitted(0)), (8, Admitted(0))]
    places.ended(8)
    places.ended(9)  # one that never asked
    places.release(8, 0)  # what came late


def test_a_request_that_is_to_wait_no_longer_is_refused_once_or_keeps_its_place() -> None:
    answers: list[tuple[int, Admitted | QueueFull]] = []
    places = SharedGates(lambda pid, message: answers.append((pid, message)))
    places.serve(models({"a": (1, 1)}))
    for ticket in range(3):  # one has a place, one waits, one is refused
        places.acquire(7, ticket, "a")
    assert answers == [(7, Admitted(0)), (7, QueueFull(2))]
    for ticket in (0, 1, 2, 1):
        places.stop_waiting(7, ticket)
    assert answers[2:] == [(7, QueueFull(1))]
    places.acquire(8, 0, "a")
    places.release(7, 0)
    assert answers[3:] == [(8, Admitted(0))]
    places.ended(7)
    places.ended(8)


class Reentrant:
    """One that is done as soon as it is admitted, and comes again."""

    def __init__(self, gate: LocalGate, times: int) -> None:
        self.gate = gate
        self.times = times

    def admitted(self) -> None:
        self.gate.leave()
        if self.times:
            self.times -= 1
            assert not self.gate.enter(), "those who wait come first"
            assert self.gate.wait(self)

    def refused(self) -> None:
        raise AssertionError


def test_requests_that_end_at_once_need_no_stack_and_overtake_nobody() -> None:
    gate = LocalGate(1, 100_000)
    assert gate.enter()
    waiting = [Reentrant(gate, 0) for _ in range(50_000)]
    for request in waiting:
        assert gate.wait(request)
    again = Reentrant(gate, 1)
    assert gate.wait(again)
    last = Reentrant(gate, 0)
    assert gate.wait(last)
    gate.leave()
    assert (gate.active, gate.queued) == (0, 0)


def test_a_single_process_serves_the_queue_of_a_removed_model_in_turn() -> None:
    gates = LocalGates()
    gates.serve(models({"a": (1, 5)}))
    gate = gates.get("a")
    assert gate is not None
    requests = [Request(number, "a", gate) for number in range(3)]
    for request in requests:
        request.start()
    gates.serve(models({}))
    assert gates.get("a") is gate
    assert [request.state for request in requests] == ["active", "waits", "waits"]
    requests[0].end()
    assert [request.state for request in requests[1:]] == ["active", "waits"]
    gates.serve(models({"a": (None, 0)}))
    assert [request.state for request in requests[1:]] == ["active", "active"]
