"""The places of all workers at the gates of their supervisor, and which worker has them. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmhop.config.tables.model import ModelConfig
from llmhop.models.gate import LocalGate, LocalGates
from llmhop.workers.messages import Admitted, QueueFull

Answer = Callable[[int, Admitted | QueueFull], None]
"""Sends to the worker of a process id."""


class _Place:
    """One that a worker asked for. Implements models.gate.Waiting."""

    __slots__ = ("_answer", "_ticket", "_worker", "gate", "waits")

    def __init__(self, gate: LocalGate, worker: int, ticket: int, answer: Answer) -> None:
        self.gate = gate
        self.waits = True
        self._worker = worker
        self._ticket = ticket
        self._answer = answer

    def admitted(self) -> None:
        self.waits = False
        self._answer(self._worker, Admitted(self._ticket))

    def refused(self) -> None:
        self._answer(self._worker, QueueFull(self._ticket))


class SharedGates:
    """Gives places to workers, first come, first served, and takes them back when one dies."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._gates = LocalGates()
        self._places: dict[int, dict[int, _Place]] = {}

    def serve(self, models: Mapping[str, ModelConfig]) -> None:
        """Keep to the limits of a config, see models.gate.Gates."""
        self._gates.serve(models)

    def acquire(self, worker: int, ticket: int, model: str) -> None:
        """Answer at once, or when there is a place."""
        gate = self._gates.get(model)
        if gate is None:  # no config ever limited it
            self._answer(worker, Admitted(ticket))
            return
        place = _Place(gate, worker, ticket, self._answer)
        places = self._places.setdefault(worker, {})
        if gate.enter():
            places[ticket] = place
            place.admitted()
        elif gate.wait(place):
            places[ticket] = place
        else:
            place.refused()

    def release(self, worker: int, ticket: int) -> None:
        """Take a place back, or its request out of the queue."""
        place = self._places.get(worker, {}).pop(ticket, None)
        if place is not None:
            _give_back(place)

    def stop_waiting(self, worker: int, ticket: int) -> None:
        """Refuse a request that is still in the queue."""
        places = self._places.get(worker, {})
        place = places.get(ticket)
        if place is not None and place.waits:
            del places[ticket]
            place.gate.stop_waiting(place)

    def ended(self, worker: int) -> None:
        """Take back what a worker had; only once its connections to backends are closed."""
        places = self._places.pop(worker, {}).values()
        # Those that wait first, or they would get the places of the others.
        for place in sorted(places, key=lambda place: not place.waits):
            _give_back(place)


def _give_back(place: _Place) -> None:
    if place.waits:
        place.gate.forget(place)
    else:
        place.gate.leave()
