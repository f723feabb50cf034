"""The note that a unit leaves at each start: the text by which it was started.

A file tells what the next start would be. What runs may have been started before the file
was replaced, by hand or by systemd, and later commands have to know. Podman and systemd
keep nothing that says so. So each start copies the source that systemd names as the unit's,
and adds when that was changed last, when Podman's generator made the service of it, a digest of
that service, and which start it is (`INVOCATION_ID`, systemd.exec(5)). Which unit a model runs by
follows from that copy alone, so that every edit by hand is seen. NeedDaemonReload=
would not do: it passes over what is older than what systemd has read, as a copy that somebody
puts back.

A source that is gone, or that was touched after its service was made, does not tell what systemd
has read. Where the service is the one of the start before, what that has left still does. Podman
makes the words of ExecStart= of other lines that are in the service too, and puts some into an
order of its own each time (seen with Podman 5.4), so that the digest is without it.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

# The copy comes first: what is edited while it is made, systemd has not read.
_LEAVES_NOTE = (
    'ExecStartPre=-/bin/sh -c "n=%t/%N.started; s=$$(systemctl --user show -P SourcePath %n); '
    "set -- $$(grep -v ^ExecStart= %y | sha256sum); "
    "if ! [ $$(find $$s -maxdepth 0 ! -newercm %y) ] && grep -qsx $$1 $$n; then sed -i '$$d' $$n; "
    "else { cat $$s; echo; stat -c %%.9Z $$s; stat -c %%.9Y %y; echo $$1; } >$$n; fi; "
    'echo $$INVOCATION_ID >>$$n"'
)
_LINE = re.compile(re.escape(_LEAVES_NOTE) + r"(?: environment=(\w+))?")
_ADDED = re.compile(r"([0-9]+\.[0-9]{9})\n([0-9]+\.[0-9]{9})\n[0-9a-f]*\n([0-9a-f]{32})\n")
_KEPT = re.compile(r"([0-9a-f]{32}) ([0-9]{1,5})")
_PORT = re.compile(r"^PublishPort=(?:.*:)?([0-9]{1,5}):[0-9]+$", re.MULTILINE)
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
        """Read what `str` makes of one, or None where it is none."""
        found = _KEPT.fullmatch(text)
        return cls(found[1], int(found[2])) if found else None


@dataclass(frozen=True)
class Started:
    """What a start left: the text of its source, and systemd's id of that start.

    `text` is None where systemd may have read another one.
    """

    text: str | None
    invocation: str

    @classmethod
    def parse(cls, left: str) -> Self | None:
        """Read what a start left, or None where that is not whole."""
        lines = left.split("\n")
        added = _ADDED.fullmatch("\n".join(lines[-5:]))
        if added is None:
            return None
        changed, made, invocation = added.groups()
        is_read = Decimal(changed) <= Decimal(made)
        return cls("\n".join(lines[:-5]) if is_read else None, invocation)


def note_file(service: str) -> str:
    """The name of the note of a service, in the user's runtime directory."""
    return service.removesuffix(".service") + ".started"


def with_note(source: str, environment: str = "") -> str:
    """A Quadlet source that leaves a note at each start, whatever note it left before.

    `environment` is a digest of what its environment files hold.
    """
    line = _LEAVES_NOTE + (f" environment={environment}" if environment else "") + "\n"
    # Last, or an empty ExecStartPre= of the deployer's would take it away.
    before, section, rest = without_note(source).partition(f"\n{_SECTION}")
    own, blank, after = rest.partition("\n\n")
    return "".join([before, section, own, "\n" if blank else "", line, blank[1:], after])


def with_environment(source: str, environment: str) -> str:
    """A source whose note also tells of what its environment files hold."""
    return with_note(source, environment) if leaves_note(source) else source


def environment_of(source: str) -> str:
    """The digest of environment files that a source was given; empty where it has none."""
    found = next(filter(None, map(_LINE.fullmatch, source.splitlines())), None)
    return (found[1] or "") if found else ""


def note_of(source: str) -> StartNote | None:
    """What is known of a model that was started by a source; None where it leaves no note."""
    port = _PORT.search(source)
    if port is None or not leaves_note(source):
        return None
    return StartNote(hashlib.sha256(_started_by(source).encode()).hexdigest()[:32], int(port[1]))


def leaves_note(source: str) -> bool:
    """Whether a source leaves a note at its start."""
    return any(map(is_note, source.splitlines()))


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
