"""The note that a unit leaves at each start: by which text it was started, and on which port.

A file tells what the next start would be. What runs may have been started before the file
was replaced, by hand or by systemd, and whoever asks later has to know. Podman and systemd
keep nothing that says so while a unit is only about to start.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_LINE = re.compile(
    r'^ExecStartPre=-/bin/sh -c "echo ([0-9a-f]{32} [0-9]+) >%t/([A-Za-z0-9.-]+)\.started"$'
)
_NOTE = re.compile(r"([0-9a-f]{32}) ([0-9]{1,5})\n")
_SECTION = "[Service]\n"


@dataclass(frozen=True)
class StartNote:
    """A digest of all that a start depends on, and the port that it publishes."""

    digest: str
    port: int

    def __str__(self) -> str:
        return f"{self.digest} {self.port}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a note as a unit leaves it, or None where it is none."""
        found = _NOTE.fullmatch(text)
        return cls(found[1], int(found[2])) if found else None


def note_file(service: str) -> str:
    """The name of the note of a service, in the user's runtime directory."""
    return service.removesuffix(".service") + ".started"


def with_note(source: str, unit: str, port: int, environment: str = "") -> str:
    """A Quadlet source that leaves a note at each start, whatever note it left before.

    `environment` is a digest of what its environment files hold.
    """
    bare = without_note(source)
    digest = hashlib.sha256(f"{_started_by(bare)}\0{environment}".encode()).hexdigest()[:32]
    line = f'ExecStartPre=-/bin/sh -c "echo {digest} {port} >%t/{unit}.started"\n'
    # Last, or an empty ExecStartPre= of the deployer's would take it away.
    before, section, rest = bare.partition(f"\n{_SECTION}")
    own, blank, after = rest.partition("\n\n")
    return "".join([before, section, own, "\n" if blank else "", line, blank[1:], after])


def with_environment(source: str, environment: str) -> str:
    """A source whose note also tells of what its environment files hold."""
    found = next(filter(None, map(_LINE.fullmatch, source.splitlines())), None)
    if found is None:
        return source
    return with_note(source, found[2], int(found[1].split()[1]), environment)


def note_of(source: str) -> StartNote | None:
    """The note that a source leaves at its start; None where it leaves none."""
    found = next(filter(None, map(_LINE.fullmatch, source.splitlines())), None)
    return StartNote.parse(f"{found[1]}\n") if found else None


def without_note(source: str) -> str:
    """A source without the line that leaves the note."""
    return "".join(line for line in source.splitlines(keepends=True) if not is_note(line))


def is_note(line: str) -> bool:
    """Whether a line of a source is the one that leaves its note."""
    return _LINE.fullmatch(line.rstrip("\n")) is not None


def is_order(line: str) -> bool:
    """Whether a line of a source is one of its place in the start order."""
    return line.startswith("After=")


def _started_by(source: str) -> str:
    """A source without its place in the start order, which is nothing to a running service."""
    lines: Iterable[str] = source.splitlines(keepends=True)
    return "".join(line for line in lines if not is_order(line))
