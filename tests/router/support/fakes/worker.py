"""A worker at the limits of models, whose messages go when the test says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from llmhop.config.tables.model import ModelConfig
from llmhop.models.gate import Gate
from llmhop.workers.messages import Acquire, Admitted, QueueFull, Release, StopWaiting
from llmhop.workers.remote_gate import RemoteGates

from tests.router.support.endpoints import check

Limits = dict[str, tuple[int | None, int]]


def models(limits: Limits) -> Mapping[str, ModelConfig]:
    """The models of a config with these limits."""
    given: dict[str, dict[str, Any]] = {
        name: {"url": "http://h", "maxConcurrent": most, "maxQueued": queued}
        if most is not None
        else {"url": "http://h"}
        for name, (most, queued) in limits.items()
    }
    return check({"models": {"other": {"url": "http://h"}, **given}}).models


class Request:
    """A client's request at a gate."""

    def __init__(self, number: int, model: str, gate: Gate) -> None:
        self.number = number
        self.model = model
        self.gate = gate
        self.state = "new"

    def start(self) -> None:
        if self.gate.enter():
            self.state = "active"
        elif self.gate.wait(self):
            self.state = "waits"
        else:
            self.state = "refused"

    def admitted(self) -> None:
        assert self.state == "waits"
        self.state = "active"

    def refused(self) -> None:
        assert self.state == "waits"
        self.state = "refused"

    def stop_waiting(self) -> None:
        if self.state == "waits":
            self.gate.stop_waiting(self)

    def end(self) -> None:
        if self.state == "waits":
            self.gate.forget(self)
        else:
            assert self.state == "active"
            self.gate.leave()
        self.state = "ended"


class FakeWorker:
    """A worker whose messages wait in two queues, in order."""

    def __init__(self, pid: int, limits: Limits) -> None:
        self.pid = pid
        self.draining = False
        self.up: deque[Acquire | Release | StopWaiting] = deque()
        self.down: deque[Admitted | QueueFull | Limits] = deque()
        self.gates = RemoteGates(self.up.append, lambda: len(self.up))
        self.requests: list[Request] = []
        self.serve(limits)

    def serve(self, limits: Limits) -> None:
        self.limits = limits
        self.gates.serve(models(limits))

    def drain(self) -> None:
        self.draining = True
        for request in self.requests:
            request.stop_waiting()

    def hear(self) -> None:
        message = self.down.popleft()
        if isinstance(message, Admitted):
            self.gates.admitted(message.ticket)
        elif isinstance(message, QueueFull):
            self.gates.refused(message.ticket)
        else:
            self.serve(message)
