"""The gates of a worker: its supervisor counts for all of them. No I/O.

Messages arrive in order and none is lost while both processes live. What crosses on the way
settles itself: a worker that gives up a request which was admitted meanwhile gives back a place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmhop.config.tables.model import ModelConfig
from llmhop.models.gate import Gate, Waiting
from llmhop.workers.messages import Acquire, Release, StopWaiting

Ask = Callable[[Acquire | Release | StopWaiting], None]

MAX_UNSENT = 10_000
"""How many messages may wait here for a supervisor that reads none, before requests are refused."""


class RemoteGate(Gate):
    """A gate whose places the supervisor counts: each request waits at least for its answer."""

    __slots__ = ("_gates", "_model", "held")

    held: list[int]
    """The tickets of admitted requests. One place is as good as another."""

    def __init__(self, model: str, gates: RemoteGates) -> None:
        self._model = model
        self._gates = gates
        self.held = []

    def enter(self) -> bool:
        """Only the supervisor knows."""
        return False

    def wait(self, request: Waiting) -> bool:
        """Ask for a place."""
        return self._gates.acquire(self._model, request, self)

    def leave(self) -> None:
        """Give a place back."""
        self._gates.release(self.held.pop())

    def forget(self, request: Waiting) -> None:
        """Ask no more for a place."""
        self._gates.forget(request)

    def stop_waiting(self, request: Waiting) -> None:
        """Have the supervisor refuse the request, if it has no place by then."""
        self._gates.stop_waiting(request)


class RemoteGates:
    """The gates of all models that had a limit. Implements models.gate.Gates."""

    __slots__ = (
        "_alone",
        "_ask",
        "_gates",
        "_last",
        "_stopping",
        "_tickets",
        "_unsent",
        "_waiting",
    )

    def __init__(self, ask: Ask, unsent: Callable[[], int]) -> None:
        """`ask` sends a message to the supervisor; `unsent` tells how many have not gone yet."""
        self._ask = ask
        self._unsent = unsent
        self._gates: dict[str, RemoteGate] = {}
        self._last = 0
        self._alone = False
        self._stopping: set[int] = set()  # to wait no longer, and not answered yet
        self._waiting: dict[int, tuple[Waiting, RemoteGate]] = {}
        self._tickets: dict[Waiting, int] = {}

    def serve(self, models: Mapping[str, ModelConfig]) -> None:
        """Have a gate for each model that has a limit in the config."""
        for name, model in models.items():
            if model.max_concurrent is not None and name not in self._gates:
                self._gates[name] = RemoteGate(name, self)

    def get(self, model: str) -> Gate | None:
        """Return the gate of a model that has a limit, or had one in an earlier config."""
        return self._gates.get(model)

    def acquire(self, model: str, request: Waiting, gate: RemoteGate) -> bool:
        """Ask for a place; answer whether the supervisor can be asked."""
        if self._unsent() >= MAX_UNSENT:
            return False
        self._last = ticket = self._last + 1
        self._waiting[ticket] = request, gate
        self._tickets[request] = ticket
        self._ask(Acquire(ticket, model))
        return True

    def release(self, ticket: int) -> None:
        """Give a place back."""
        self._ask(Release(ticket))

    def forget(self, request: Waiting) -> None:
        """Ask no more for a place."""
        ticket = self._tickets[request]
        self._take(ticket)
        self._ask(Release(ticket))

    def stop_waiting(self, request: Waiting) -> None:
        """Have the supervisor answer now, or be refused where there is none."""
        ticket = self._tickets[request]
        if self._alone:
            self.refused(ticket)
        else:
            self._stopping.add(ticket)
            self._ask(StopWaiting(ticket))

    def supervisor_left(self) -> None:
        """Refuse those whose answer will not come."""
        self._alone = True
        for ticket in sorted(self._stopping):
            self.refused(ticket)

    def admitted(self, ticket: int) -> None:
        """The supervisor gave a place; the request may have given up meanwhile."""
        request = self._take(ticket)
        if request is not None:
            request[1].held.append(ticket)
            request[0].admitted()

    def refused(self, ticket: int) -> None:
        """The supervisor gives no place, and no place in the queue."""
        request = self._take(ticket)
        if request is not None:
            request[0].refused()

    def _take(self, ticket: int) -> tuple[Waiting, RemoteGate] | None:
        self._stopping.discard(ticket)
        found = self._waiting.pop(ticket, None)
        if found is not None:
            del self._tickets[found[0]]
        return found
