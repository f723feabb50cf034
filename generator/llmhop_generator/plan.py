"""What has to change among the units of a host: a pure function of what is wanted and present."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmhop_generator.units import service_of

Files = Mapping[str, str]
"""Quadlet sources by file name."""


@dataclass(frozen=True)
class UnitChanges:
    """The steps for one user's units, in this order.

    `stop` names services; `delete` and `write` name files; `start` names every
    service that shall run, in order: starting one that runs does nothing.
    """

    stop: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    write: Files = field(default_factory=dict)
    start: tuple[str, ...] = ()


def plan_units(
    wanted: Files, uid: int | None, present: Mapping[int, Files]
) -> dict[int, UnitChanges]:
    """Plan the way from our sources that are present, by uid, to those that are wanted.

    `uid` is the user to serve as, or None where no models are wanted. A changed
    unit is stopped before its source is replaced, so that whenever this ends
    early, what runs is what the sources say, and the next run goes on from there.
    One that only moved in the start order runs on.
    """
    changes = {
        other: UnitChanges(stop=tuple(map(service_of, files)), delete=tuple(files))
        for other, files in present.items()
        if other != uid and files
    }
    if uid is not None:
        there = present.get(uid, {})
        stale = [name for name in there if name not in wanted]
        write = {name: text for name, text in wanted.items() if there.get(name) != text}
        changed = [n for n in write if n in there and _unordered(there[n]) != _unordered(write[n])]
        changes[uid] = UnitChanges(
            stop=tuple(map(service_of, [*stale, *changed])),
            delete=tuple(stale),
            write=write,
            start=tuple(map(service_of, wanted)),
        )
    return changes


def _unordered(source: str) -> list[str]:
    """A source without its place in the start order, which is nothing to a running service."""
    return [line for line in source.splitlines() if not line.startswith("After=")]
