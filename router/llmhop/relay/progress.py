"""For how long nothing has moved on an exchange. Reads no clock: the sweep gives the time.

No timer runs for a request, so what moves only says so, and the next sweep begins to count anew.
"""

from __future__ import annotations


class Progress:
    """Counts since when an exchange stands still. Times are in seconds of the event loop's clock.

    Whoever moves something sets `moved`.
    """

    __slots__ = ("_since", "_stood", "_unsent", "moved")

    def __init__(self) -> None:
        self.moved = False
        self._since = self._stood = 0.0
        self._unsent = 0

    def restart(self, now: float) -> None:
        """Count from now on."""
        self._since = now
        self._stood = 0.0

    def standstill(self, now: float) -> float:
        """Return for how long nothing has moved, of which the first sweep after it did sees 0."""
        if self.moved:
            self.moved = False
            self._since = now
        self._stood = now - self._since
        return self._stood

    @property
    def stood(self) -> float:
        """For how long nothing had moved when it was asked last; 0 where something has since."""
        return 0.0 if self.moved else self._stood

    def client_takes(self, unsent: int, now: float) -> bool:
        """Whether a slow client took some of what is still `unsent` bytes; then count anew."""
        if unsent == self._unsent:
            return False
        self._unsent = unsent
        self._since = now
        return True
