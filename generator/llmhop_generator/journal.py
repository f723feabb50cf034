"""A model's service in the journal: its starts, and who wrote what in them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self

# Of systemd's sd-messages.h: the journal's catalog numbers for what becomes of a unit.
STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"
STARTED = "39f53479d3a045ac8e11786248231fbf"
FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
ENDED = "7ad2d189f7e94e70a38c781354912448"
RESTARTING = "5eb03494b6584870a536b337290809b3"

FIELDS = (
    "MESSAGE",
    "MESSAGE_ID",
    "CONTAINER_NAME",
    "CONTAINER_PARTIAL_MESSAGE",
    "SYSLOG_IDENTIFIER",
    "PRIORITY",
    "_COMM",
    "_TRANSPORT",
)
"""The fields of a record that are read here."""

# What Podman runs beside a container, under the names that the kernel cuts to 15 bytes. `sh` and
# `env` are the ExecStartPre= of our units.
_HELPERS = (
    "aardvark-dns",
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
    "systemd",
)


@dataclass(frozen=True)
class Record:
    """One entry of the journal.

    `writer` is the program that wrote it; of what a container printed, and of what something
    printed in its place (Podman's log driver `passthrough`), `is_engine` is true. `about` is one
    of systemd's message ids, `at_s` in seconds of the real-time clock. A message that `goes_on`
    was longer than what the log driver takes at once, and the next one is the rest of it.
    """

    message: str
    writer: str = ""
    is_engine: bool = False
    about: str = ""
    at_s: float = 0.0
    goes_on: bool = False

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line of `journalctl -o json`.

        Raises:
            ValueError: it is none.
        """
        read: dict[str, Any] = json.loads(line)
        writer = str(read.get("_COMM", ""))
        # What is known by no name may be a podman that has ended.
        printed = read.get("_TRANSPORT") == "stdout" and writer and not _is_helper(writer)
        return cls(
            message=_text(read.get("MESSAGE")).rstrip("\n"),
            writer=writer,
            is_engine="CONTAINER_NAME" in read or bool(printed),
            about=str(read.get("MESSAGE_ID", "")),
            at_s=int(read.get("__REALTIME_TIMESTAMP", 0)) / 1e6,
            goes_on=read.get("CONTAINER_PARTIAL_MESSAGE") == "true",
        )


def _is_helper(command: str) -> bool:
    # pasta.avx2 is pasta.
    return command.partition(".")[0] in _HELPERS


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

    `came_up` and `failed` are what systemd said of it, both false while it has not; `again`
    says that systemd started it by itself, after the one before had failed. `ended_s` is in
    seconds of the real-time clock.
    """

    again: bool = False
    came_up: bool = False
    failed: bool = False
    began_s: float = 0.0
    ended_s: float = 0.0
    records: list[Record] = field(default_factory=list)

    @property
    def engine_lines(self) -> list[str]:
        """What the container printed."""
        return [line for r in self.records if r.is_engine for line in r.message.splitlines()]


def starts(records: Iterable[Record]) -> list[Start]:
    """Split what was written of one service into its starts, the first of them maybe cut short."""
    found = [Start()]
    for record in _whole(records):
        latest = found[-1]
        if record.about == STARTING:
            again = any(earlier.about == RESTARTING for earlier in latest.records)
            found.append(latest := Start(again=again, began_s=record.at_s))
        elif record.about == STARTED:
            latest.came_up = True
        elif record.about in (FAILED, ENDED):
            latest.failed = not latest.came_up
            latest.ended_s = latest.ended_s or record.at_s
        latest.records.append(record)
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
