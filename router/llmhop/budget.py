"""A limit on the memory that all clients of a process take together. No I/O."""

from __future__ import annotations


class Budget:
    """Counts bytes up to a limit. `held` is how many are in use, of all clients."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.held = 0
        self.limit = limit

    def resize(self, old: int, new: int) -> bool:
        """Have a client hold `new` bytes in place of `old`; answer whether it may.

        Fewer it always may, also where a reload has lowered the limit. While nobody else holds
        any, it may hold what one client can: a body of the largest size, and somewhat more, as the
        name of a model may be longer than its alias, and chunks have framing.
        """
        others = self.held - old
        if new > old and others and others + new > self.limit:
            return False
        self.held += new - old
        return True
