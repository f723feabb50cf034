"""Rules on keys of a unit: which values are refused, and why."""

import re
from collections.abc import Callable
from dataclasses import dataclass

TRUE = r"(?i:1|yes|y|true|t|on)"
HEALTH = "a model is up when its health check says so"
SYSTEMD_RESTARTS = "systemd restarts a model that has ended, and serviceConfig says how"
FALSE = r"(?i:0|no|n|false|f|off)"


@dataclass(frozen=True)
class Rule:
    """A restriction on a key, and on the flags of `podman run` that mean the same.

    why: the reason, and what to do instead.
    values: a regex of the values that are refused.
    taken: a regex or a predicate of those that are accepted; empty ones, and those with % or $,
        which systemd expands, always are. Without `values` and `taken` the key itself is refused.
    several: every line is checked, not the last one alone.
    words: so is every word of each, as Podman splits them.
    flags: flags that are restricted like the key.
    alone: flags that are refused whatever their value.
    """

    why: str
    values: str | None = None
    taken: str | Callable[[str], bool] | None = None
    several: bool = False
    words: bool = False
    flags: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the key is refused whatever its value."""
        return self.values is None and self.taken is None

    def refuses(self, value: str) -> bool:
        """Whether a value is refused."""
        if self.taken is not None:
            if value == "" or {"%", "$"} & {*value}:
                return False
            if isinstance(self.taken, str):
                return re.fullmatch(self.taken, value) is None
            return not self.taken(value)
        return self.values is None or re.fullmatch(self.values, value) is not None
