"""A limit on the requests of a model that are under way at once, with a queue before it. No I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from sys import maxsize
from typing import Protocol

from llmhop.config.tables.model import ModelConfig


class Waiting(Protocol):
    """A request that may have to wait. One of the two is called, once, after `wait` gave True."""

    def admitted(self) -> None:
        """It is let in; it gives its place back with `leave`."""

    def refused(self) -> None:
        """It gets no place, as is known only now; it has left the queue."""


class Gate(ABC):
    """Admits up to a number of requests at once, and queues some more, first in, first out."""

    __slots__ = ()

    @abstractmethod
    def enter(self) -> bool:
        """Admit a request if there is a place, which it gives back with `leave`."""

    @abstractmethod
    def wait(self, request: Waiting) -> bool:
        """Have a request wait that could not enter, if the queue is not full.

        It is let in later, or gives up with `forget`.
        """

    @abstractmethod
    def leave(self) -> None:
        """Give a place back: to the request that has waited longest."""

    @abstractmethod
    def forget(self, request: Waiting) -> None:
        """Remove from the queue a request that no longer waits."""

    @abstractmethod
    def stop_waiting(self, request: Waiting) -> None:
        """End the wait of a request: `refused` is called, unless it has a place already."""


class LocalGate(Gate):
    """A gate that counts in this process. A reload changes its limits and ends no request."""

    __slots__ = ("_admitting", "_max_active", "_max_queued", "_queue", "active")

    active: int
    """How many requests were let in and have not left."""

    def __init__(self, max_active: int, max_queued: int) -> None:
        self.active = 0
        self._admitting = False
        self._max_active = max_active
        self._max_queued = max_queued
        self._queue: OrderedDict[Waiting, None] = OrderedDict()

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    def enter(self) -> bool:
        """Let a request in if there is a place, and nobody waits for it."""
        if self.active >= self._max_active or self._queue:
            return False
        self.active += 1
        return True

    def wait(self, request: Waiting) -> bool:
        """Have a request wait that could not enter, if the queue is not full."""
        if len(self._queue) >= self._max_queued:
            return False
        self._queue[request] = None
        return True

    def leave(self) -> None:
        """Give a place back: to the request that has waited longest."""
        self.active -= 1
        if self._queue:
            self._admit()

    def forget(self, request: Waiting) -> None:
        """Remove from the queue a request that no longer waits."""
        del self._queue[request]

    def stop_waiting(self, request: Waiting) -> None:
        """Refuse a request that waits."""
        del self._queue[request]
        request.refused()

    def resize(self, max_active: int, max_queued: int) -> None:
        """Change the limits; requests in a queue that is too long now keep their places."""
        self._max_active = max_active
        self._max_queued = max_queued
        self._admit()

    def _admit(self) -> None:
        if self._admitting:
            return  # one that was admitted below has left already: the loop there goes on
        self._admitting = True
        try:
            while self._queue and self.active < self._max_active:
                request, _ = self._queue.popitem(last=False)
                self.active += 1
                request.admitted()
        finally:
            self._admitting = False


class Gates(Protocol):
    """The gates of all models, through all reloads."""

    def serve(self, models: Mapping[str, ModelConfig]) -> None:
        """Have a gate for each model that has a limit in the config.

        One whose model lost its limit lets all in. One whose model is gone keeps its limit, for
        the requests that wait or are on their way: they are served in order.
        """

    def get(self, model: str) -> Gate | None:
        """Return the gate of a model that has a limit, or had one in an earlier config."""


class LocalGates:
    """Gates that count in this process. Implements Gates.

    A gate is never removed: somebody may be on the way to it, and its model may come back.
    """

    __slots__ = ("_gates",)

    def __init__(self) -> None:
        self._gates: dict[str, LocalGate] = {}

    def serve(self, models: Mapping[str, ModelConfig]) -> None:
        """Have a gate for each model that has a limit in the config."""
        for name, model in models.items():
            gate = self._gates.get(name)
            if model.max_concurrent is None:
                if gate is not None:
                    gate.resize(maxsize, maxsize)
            elif gate is None:
                self._gates[name] = LocalGate(model.max_concurrent, model.max_queued)
            else:
                gate.resize(model.max_concurrent, model.max_queued)

    def get(self, model: str) -> LocalGate | None:
        """Return the gate of a model that has a limit, or had one in an earlier config."""
        return self._gates.get(model)
