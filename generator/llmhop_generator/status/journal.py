"""A model's service in the journal: its starts, and the entries of each with their writer."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self

# Of systemd's sd-messages.h: the journal's catalog numbers for what becomes of a unit.
STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"
STARTED = "39f53479d3a045ac8e11786248231fbf"
FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
ENDED = "7ad2d189f7e94e70a38c781354912448"
RESTARTING = "5eb03494b6584870a536b337290809b3"
EXITED = "98e322203f7a4ed290d09fe03c09fe15"
NOT_SPAWNED = "641257651c1b4ec9a8624d7a40a9e1e7"
OUT_OF_MEMORY = "fe6faa94e7774663a0da52717891d8ef"
KILLED_BY_OOMD = "d989611b15e44c9dbf31e3c81256e4ed"

FIELDS = (
    "MESSAGE",
    "MESSAGE_ID",
    "CONTAINER_NAME",
    "CONTAINER_PARTIAL_MESSAGE",
    "SYSLOG_IDENTIFIER",
    "PRIORITY",
    "_COMM",
    "_TRANSPORT",
    "UNIT_RESULT",
    "INVOCATION_ID",
    "USER_INVOCATION_ID",
)
"""The fields of a record that are read here."""

# What Podman runs beside a container, under the names that the kernel cuts to 15 bytes. `sh`,
# `env` and what they start are the ExecStartPre= of our units.
_HELPERS = (
    "aardvark-dns",
    "cat",
    "catatonit",
    "conmon",
    "crun",
    "env",
    "fuse-overlayfs",
    "netavark",
    "pasta",
    "podman",
    "rootlessport",
    "runc",
    "sh",
    "slirp4netns",
    "systemctl",
    "systemd",
)


# Escape sequences of ECMA-48 (CSI, strings such as OSC, and the short ones), C0 and C1 but for
# newline and tab, and what turns the direction of text.
_CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
_CONTAINER_ID = re.compile("[0-9a-f]{64}")  # printed by podman-run(1)


@dataclass(frozen=True)
class Record:
    """One entry of the journal.

    `writer` is the program that wrote it; of what a container printed, and of what something
    printed in its place (Podman's log driver `passthrough`), `is_engine` is true. `about` is one
    of systemd's message ids, `at_s` in seconds of the real-time clock. A message that `goes_on`
    was longer than what the log driver takes at once, and the next one is the rest of it.
    `invocation` is systemd's id of the start that it is about, where systemd wrote it. Who wrote
    the others does not tell: after a restart by systemd, journald still gives what a unit's
    processes write the id of the start before (_SYSTEMD_INVOCATION_ID; seen with systemd 257).
    There are no control characters in `message` but tabs, and newlines between lines.
    `is_printed` says that it went to standard output or error. `result` is the Result= of the unit
    that it tells.
    """

    message: str
    writer: str = ""
    is_engine: bool = False
    about: str = ""
    at_s: float = 0.0
    goes_on: bool = False
    invocation: str = ""
    is_printed: bool = False
    result: str = ""

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line of `journalctl -o json`.

        Raises:
            ValueError: it is none.
        """
        read: dict[str, Any] = json.loads(line)
        writer = str(read.get("_COMM", ""))
        # What is known by no name may be a podman that has ended.
        is_printed = read.get("_TRANSPORT") == "stdout"
        printed = is_printed and writer and not _is_helper(writer)
        return cls(
            message=_printable(_text(read.get("MESSAGE"))).rstrip("\n"),
            writer=writer,
            is_engine="CONTAINER_NAME" in read or bool(printed),
            about=str(read.get("MESSAGE_ID", "")),
            at_s=int(read.get("__REALTIME_TIMESTAMP", 0)) / 1e6,
            goes_on=read.get("CONTAINER_PARTIAL_MESSAGE") == "true",
            is_printed=is_printed,
            invocation=_text(read.get("USER_INVOCATION_ID", read.get("INVOCATION_ID", ""))),
            result=_text(read.get("UNIT_RESULT", "")),
        )

    @property
    def is_command(self) -> bool:
        """Whether a command of the unit may have written it, beside what Podman runs.

        What ends soon is known by no name.
        """
        is_known = self.writer not in ("", "sh") and _is_helper(self.writer)
        return self.is_printed and not is_known and _CONTAINER_ID.fullmatch(self.message) is None


def _is_helper(command: str) -> bool:
    # pasta.avx2 is pasta.
    return command.partition(".")[0] in _HELPERS


def _printable(message: str) -> str:
    """What a container or another program wrote, without what steers a terminal.

    A progress bar returns to where its line began: it is as many lines.
    """
    return _CONTROL.sub("", message.replace("\r", "\n"))


def _text(value: object) -> str:
    """A field as journalctl spells it: what is not all printable is a list of bytes."""
    if isinstance(value, list):
        if all(isinstance(item, int) for item in value):
            return bytes(value).decode("utf-8", errors="replace")
        return _text(value[-1])
    return value if isinstance(value, str) else ""


@dataclass
class Start:
    """One start of a service, and what was written from then until the next one.

    `came_up` and `failed` are what systemd said of it, both false while it has not; `result` is the
    Result= by which it ended otherwise than well, also after it came up. `again` says that systemd
    started it by itself, after the one before had failed. `ended_s` is in seconds of the real-time
    clock. `invocation` is systemd's id of it.
    """

    again: bool = False
    came_up: bool = False
    failed: bool = False
    result: str = ""
    began_s: float = 0.0
    ended_s: float = 0.0
    invocation: str = ""
    records: list[Record] = field(default_factory=list)

    @property
    def engine_lines(self) -> list[str]:
        """What the container printed."""
        return [line for r in self.records if r.is_engine for line in r.message.splitlines()]


def starts(records: Iterable[Record]) -> list[Start]:
    """Split what was written of one service into its starts, the first of them maybe cut short."""
    found = [Start()]
    by_id: dict[str, Start] = {}
    for record in _whole(records):
        # What is written late is told of its own start, and some things before systemd says that
        # one begins.
        of = by_id.get(record.invocation)
        if of is None and (record.invocation or record.about == STARTING):
            again = any(earlier.about == RESTARTING for earlier in found[-1].records)
            of = Start(again=again, began_s=record.at_s, invocation=record.invocation)
            found.append(of)
            if record.invocation:
                by_id[record.invocation] = of
        of = of or found[-1]
        if record.about == STARTED and record.invocation == of.invocation:  # else it was skipped
            of.came_up = True
        elif record.about in (FAILED, ENDED):
            of.failed = not of.came_up
            of.ended_s = of.ended_s or record.at_s
            of.result = of.result or record.result
        of.records.append(record)
    return [start for start in found if start.records]


def _whole(records: Iterable[Record]) -> Iterable[Record]:
    """Put together what a log driver took in pieces."""
    begun: Record | None = None
    for record in records:
        joined = record
        if begun is not None and record.is_engine:
            joined, begun = replace(record, message=begun.message + record.message), None
        if joined.is_engine and joined.goes_on:
            begun = joined
        else:
            yield joined
    if begun is not None:
        yield begun
