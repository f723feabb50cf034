"""A limit on the memory that all clients of a process take together. No I/O."""

from __future__ import annotations


class Budget:
    """Counts bytes up to a limit. `held` is how many are in use, of all clients."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.held = 0
        self.limit = limit


class Share:
    """What one client holds of a budget, until it is closed: `held` bytes.

    Only shares change what the budget counts, so that it is the sum of the open ones: a client that
    is gone holds nothing, whatever is still set for it.
    """

    __slots__ = ("_budget", "_open", "held")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._open = True
        self.held = 0

    def set(self, held: int) -> bool:
        """Hold so many bytes in place of those before; answer whether it may.

        Fewer it always may, also where a reload has lowered the limit. While nobody else holds
        any, it may hold what one client can: a body of the largest size, and somewhat more, as the
        name of a model may be longer than its alias, and chunks have framing. One that is closed
        goes on to hold nothing, and may.
        """
        if held == self.held or not self._open:
            return True
        budget = self._budget
        others = budget.held - self.held
        if held > self.held and others and others + held > budget.limit:
            return False
        budget.held = others + held
        self.held = held
        return True

    def close(self) -> None:
        """Give everything back, for good; closing it again does nothing."""
        self.set(0)
        self._open = False
