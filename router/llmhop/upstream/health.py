"""The health of a backend: ejection after failures. Reads no clock: times are passed in."""

from __future__ import annotations

from llmhop.limits import BASE_EJECTION_S, MAX_EJECTION_S


class Health:
    """Whether a backend is ejected: from a failure until it is seen to answer.

    `ejected` says so. Meanwhile it is probed (see probe), after a time that doubles with each
    failure. Times are in seconds of one clock.
    """

    __slots__ = ("_probe_at", "_wait", "ejected")

    def __init__(self) -> None:
        self.succeeded()

    def succeeded(self) -> None:
        """Note that it answered."""
        self.ejected = False
        self._wait = 0.0
        self._probe_at = 0.0

    def failed(self, now: float) -> None:
        """Note that it could not be reached, or gave no answer."""
        if now < self._probe_at:
            return  # attempts that ran at the same time count as one
        self.ejected = True
        self._wait = min(self._wait * 2 or BASE_EJECTION_S, MAX_EJECTION_S)
        self._probe_at = now + self._wait

    def probe_due(self, now: float) -> bool:
        """Whether it is time to probe it."""
        return self.ejected and now >= self._probe_at

    def seconds_left(self, now: float) -> float:
        """In how many seconds it will be probed."""
        return max(0.0, self._probe_at - now)
