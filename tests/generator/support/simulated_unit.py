"""The service of a model on the simulated host."""

import re
from dataclasses import dataclass


def port_in(source: str) -> int:
    """The port that a unit publishes."""
    return int(re.findall(r"^PublishPort=127\.0\.0\.1:(\d+):", source, re.MULTILINE)[0])


@dataclass
class Unit:
    """The service of a model.

    `loaded` is the source that the manager has read, None where it has none; `by` the one by
    which the unit runs or did last. `state` is one of inactive, queued, start-pre, starting,
    active, auto-restart, failed. Of a start that is `unsure` its note can't tell by what it was,
    because the manager had not read what was on the disk. `noted` is the one that the manager had
    read at the last start that left a note. `edited` says that somebody has touched the file since
    the manager read it. `masked` units can't be started.
    """

    loaded: str | None = None
    by: str | None = None
    state: str = "inactive"
    tries: int = 0
    starts: int = 0
    unsure: bool = False
    noted: str | None = None
    edited: bool = False
    masked: bool = False

    @property
    def up(self) -> bool:
        """Whether it has a container, which publishes the port of `by`."""
        return self.state in ("starting", "active")

    @property
    def port(self) -> int:
        assert self.by is not None
        return port_in(self.by)


STATES = {
    "inactive": ("inactive", "dead", ""),
    "queued": ("inactive", "dead", "7"),
    "start-pre": ("activating", "start-pre", "7"),
    "starting": ("activating", "start", "7"),
    "active": ("active", "running", ""),
    "auto-restart": ("activating", "auto-restart", ""),
    "failed": ("failed", "failed", ""),
}
"""Of each state `ActiveState=`, `SubState=` and `Job=`, as systemctl(1) shows them."""
PENDING = ("queued", "start-pre", "starting", "auto-restart")
"""States in which a start goes on."""
