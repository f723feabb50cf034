"""The rollout of a config to the workers: which serve by it, can't, or do not answer. No I/O.

Each config has a number; a worker is sent the next one when it has answered for the last.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Progress:
    sent: int
    taken: int
    failed: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a rollout ended, by the workers that do not serve by the new config."""

    failed: tuple[int, ...]
    silent: tuple[int, ...]

    @property
    def good(self) -> bool:
        """Whether all workers serve by it."""
        return not (self.failed or self.silent)


class Rollout:
    """The latest config and the workers, by process id. Times are of any one clock."""

    def __init__(self) -> None:
        self._latest = 0
        self._workers: dict[int, _Progress] = {}
        self._failed: list[int] = []  # in the rollout under way; they may have ended since
        self._deadline: float | None = None

    @property
    def deadline(self) -> float | None:
        """When a rollout ends that is under way."""
        return self._deadline

    def started(self, worker: int) -> None:
        """A worker was started, with the latest config."""
        self._workers[worker] = _Progress(self._latest, self._latest)

    def ended(self, worker: int) -> None:
        """A worker ended."""
        del self._workers[worker]

    def begin(self, deadline: float) -> None:
        """There is a new config; until `deadline` workers may take it."""
        self._latest += 1
        self._failed.clear()
        self._deadline = deadline

    def to_send(self) -> list[int]:
        """Return the workers that are to be sent the latest config now, and take it as sent."""
        due = [
            worker
            for worker, progress in self._workers.items()
            if progress.taken == progress.sent < self._latest  # one that failed never took it
        ]
        for worker in due:
            self._workers[worker].sent = self._latest
        return due

    def taken(self, worker: int) -> bool:
        """A worker serves by what it was sent; return whether nobody waits for that any more."""
        progress = self._workers[worker]
        progress.taken = progress.sent
        return self._deadline is None and progress.taken == self._latest

    def failed(self, worker: int) -> None:
        """A worker can't serve by what it was sent: it gets nothing more, and is to end."""
        progress = self._workers[worker]
        progress.failed = True
        if progress.sent == self._latest:
            self._failed.append(worker)

    def serves(self, worker: int) -> bool:
        """Whether a worker serves by the latest config."""
        return self._workers[worker].taken == self._latest

    def outcome(self, now: float) -> Outcome | None:
        """Return how the rollout under way has ended, once, as soon as it has."""
        if self._deadline is None:
            return None
        silent = tuple(
            worker
            for worker, progress in self._workers.items()
            if progress.taken != self._latest and not progress.failed
        )
        if silent and now < self._deadline:
            return None
        self._deadline = None
        return Outcome(tuple(self._failed), silent)
