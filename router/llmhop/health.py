"""What is remembered of a backend that could not be reached. Reads no clock: times are given."""

from __future__ import annotations

from llmhop.limits import LONGEST_SET_ASIDE_S, SET_ASIDE_S


class Health:
    """Whether an origin is set aside: for a time that doubles, until a connection succeeds.

    After that time one request tries it, and only when that succeeds do the others follow.
    `suspect` says that the last attempt to connect failed; times are in seconds of one clock.
    """

    __slots__ = ("_aside_until", "_trial_until", "_wait", "suspect")

    def __init__(self) -> None:
        self.succeeded()

    def succeeded(self) -> None:
        """Take note that a connection was made."""
        self.suspect = False
        self._wait = 0.0
        self._aside_until = self._trial_until = 0.0

    def failed(self, now: float) -> None:
        """Take note that no connection could be made."""
        if now < self._aside_until:
            return  # attempts that ran at the same time count as one
        self.suspect = True
        self._wait = min(self._wait * 2 or SET_ASIDE_S, LONGEST_SET_ASIDE_S)
        self._aside_until = now + self._wait
        self._trial_until = 0.0

    def is_aside(self, now: float) -> bool:
        """Whether another replica is the better choice."""
        return now < self._aside_until or now < self._trial_until

    def try_again(self, until: float) -> None:
        """Take note that a request tries it now, and will know by `until`."""
        self._trial_until = until

    def seconds_left(self, now: float) -> float:
        """How long it is still set aside."""
        return max(0.0, self._aside_until - now)
