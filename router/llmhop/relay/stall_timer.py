"""For how long an exchange has made no progress. Reads no clock: the sweep passes the time.

No timer runs for a request: progress only sets a flag, and the next sweep counts from there.
"""

from __future__ import annotations


class StallTimer:
    """Counts since when an exchange is stalled. Times are in seconds of the event loop's clock.

    Progress sets `moved`.
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
        """Return for how long nothing has moved; 0 in the first sweep after progress."""
        if self.moved:
            self.moved = False
            self._since = now
        self._stalled_s = now - self._since
        return self._stalled_s

    @property
    def stalled_s(self) -> float:
        """For how long nothing had moved at the last sweep; 0 where something has since."""
        return 0.0 if self.moved else self._stalled_s

    def client_takes(self, unsent: int, now: float) -> bool:
        """Whether a slow client took some of what is still `unsent` bytes; then count anew."""
        if unsent == self._unsent:
            return False
        self._unsent = unsent
        self._since = now
        return True
