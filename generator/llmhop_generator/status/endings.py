"""How a service ended, by systemd's own account of it: its Result= and its main process.

The results are those of systemd.service(5), "EXIT_CODE, $SERVICE_RESULT"; the exit codes beyond 124
those of podman-run(1), "Exit Status".
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from llmhop_generator.status.journal import EXITED, KILLED_BY_OOMD, OUT_OF_MEMORY, Record, Start

BY_SYSTEMD = ("oom-kill", "timeout", "watchdog")
"""Results of what systemd or the kernel did to a service, whatever the engine wrote then."""

_ENDS_WITHIN_S = 60.0  # an engine that has lost a process
_MAIN = re.compile(r"Main process exited, code=(\w+), status=(\d+)")
_OF_PODMAN = {
    125: "Podman could not run the container",
    126: "the command of its container can't be run",
    127: "the command of its container is not there",
}
_SIGNALLED = 128  # what a shell and Podman add to the number of a signal
_LAST_SIGNAL = 64  # SIGRTMAX of Linux
_WORDS = {
    "oom-kill": "it was killed by the OOM killer or systemd-oomd, as memory ran out",
    "timeout": "it was not healthy before its start timed out",
    "watchdog": "it gave no sign of life within WatchdogSec",
    "start-limit-hit": "it was started too often, so systemd does not start it again",
    "resources": "systemd lacked a resource that it needs to start it",
    "protocol": "it ended before it was healthy, without an error",
}


@dataclass(frozen=True)
class Ending:
    """A Result= of systemd, and how the main process ended.

    `code` is `exited`, `killed`, `dumped` or nothing where there was none; `status` its exit code,
    or the number of the signal.
    """

    result: str
    code: str = ""
    status: int = 0

    @classmethod
    def of_start(cls, start: Start) -> "Ending":
        """Read from what systemd wrote of a start."""
        exits = [r.message for r in start.records if r.about == EXITED]
        found = next((match for said in exits if (match := _MAIN.search(said))), None)
        result = "oom-kill" if _ran_out_of_memory(start) else start.result
        return cls(result, found[1], int(found[2])) if found else cls(result)

    @property
    def signal(self) -> int:
        """The number of the signal that ended it, or 0."""
        if self.code in ("killed", "dumped"):
            return self.status
        number = self.status - _SIGNALLED
        return number if 0 < number <= _LAST_SIGNAL else 0

    @property
    def words(self) -> str:
        """What became of it, in words; nothing where it was well, or is not over."""
        if self.result in ("", "success"):
            return ""
        if self.result in _WORDS:
            return _WORDS[self.result]
        if self.signal:
            dumped = " and dumped core" if self.code == "dumped" else ""
            return f"it was ended by {_name(self.signal)}{dumped}"
        if self.status in _OF_PODMAN:
            return f"{_OF_PODMAN[self.status]} (exit code {self.status})"
        if self.status:
            return f"it ended with exit code {self.status}"
        if self.code == "exited":
            return _WORDS["protocol"]
        return f"systemd gives its result as {self.result}"


def tells_of_oom(record: Record) -> bool:
    """Whether systemd says that processes of a service were killed for want of memory.

    Of a service of Podman's generator that is no Result=: OOMPolicy= is `continue` where there is
    Delegate= (systemd.service(5)).
    """
    return record.about in (OUT_OF_MEMORY, KILLED_BY_OOMD)


def _ran_out_of_memory(start: Start) -> bool:
    killed = [record.at_s for record in start.records if tells_of_oom(record)]
    if not killed:
        return False
    last_s = start.ended_s or start.records[-1].at_s  # what is under way has no end yet
    return last_s - killed[-1] <= _ENDS_WITHIN_S


def with_last(words: str, lines: Sequence[str]) -> str:
    """What became of it, and what the engine had said last."""
    return f"{words}; it said last: {lines[-1]}" if lines else words


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those for real time has no name
        return f"signal {number}"
