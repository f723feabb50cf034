"""For how long nothing has moved on an exchange. Reads no clock: the sweep gives the time.

No timer runs for a request, so what moves only says so, and the next sweep begins to count anew.
"""

from __future__ import annotations


class StallTimer:
    """Counts since when an exchange is stalled. Times are in seconds of the event loop's clock.

    Whoever moves a byte of it sets `moved`.
    """

    __slots__ = ("_since", "_stalled_s", "_unsent", "moved")

    def __init__(self) -> None:
        self.moved = False
        self._since = self._stalled_s = 0.0
        self._unsent = 0

    def restart(self, now: float) -> None:
        """Count from now on."""
        self._since = now
        self._stalled_s = 0.0

    def stalled_for(self, now: float) -> float:
        """Return for how long nothing has moved, of which the first sweep after it did sees 0."""
        if self.moved:
            self.moved = False
            self._since = now
        self._stalled_s = now - self._since
        return self._stalled_s

    @property
    def stalled_s(self) -> float:
        """For how long nothing had moved when it was asked last; 0 where something has since."""
        return 0.0 if self.moved else self._stalled_s

    def client_takes(self, unsent: int, now: float) -> bool:
        """Whether a slow client took some of what is still `unsent` bytes; then count anew."""
        if unsent == self._unsent:
            return False
        self._unsent = unsent
        self._since = now
        return True
