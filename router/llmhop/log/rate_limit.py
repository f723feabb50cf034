"""Limits how often a message is said. Reads no clock: times are given, in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

BURST: Final = 10
"""So often a message is said within WINDOW_S; then only how often it came."""

WINDOW_S: Final = 10.0

MAX_MESSAGES: Final = 256
"""Messages told apart at one time; the rest count as one, _OTHERS."""

_MAX_CHARACTERS: Final = 500
_OTHERS: Final = "other messages"


class _Count:
    __slots__ = ("left_out", "said", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.said = 0
        self.left_out = 0


class RateLimit:
    """The messages of the last seconds."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}  # in the order of `until`

    @property
    def waits(self) -> bool:
        """Whether something was left out that is not told yet."""
        return any(count.left_out for count in self._counts.values())

    def admit(self, message: str, now: float) -> bool:
        """Whether a message is to be said at `now`. What is over by then must be taken before."""
        key = message[:_MAX_CHARACTERS]
        if key not in self._counts and len(self._counts) >= MAX_MESSAGES:
            key = _OTHERS
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = _Count(now + WINDOW_S)
        if count.said >= BURST:
            count.left_out += 1
            return False
        count.said += 1
        return True

    def take_over(self, now: float) -> Iterator[str]:
        """Say what was left out of each message whose time is over at `now`."""
        while self._counts:
            message, count = next(iter(self._counts.items()))
            if count.until > now:
                return
            del self._counts[message]
            if count.left_out:
                yield f"{message} ({count.left_out} more)"
