"""What has to change on a host: a pure function of what is wanted and what is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmhop_generator.render import Rendered
from llmhop_generator.units import service_of


@dataclass(frozen=True)
class Present:
    """What is on the host: our Quadlet sources by uid and file name, and llmhop's configuration."""

    quadlets: Mapping[int, Mapping[str, str]]
    router: str | None


@dataclass(frozen=True)
class UnitChanges:
    """The steps for one user's units, in this order.

    `stop` names services; `write` and `delete` name files; `start` names every
    service that shall run, in order: starting one that runs does nothing.
    """

    stop: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    write: Mapping[str, str] = field(default_factory=dict)
    start: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Unit changes by uid, the user to serve last, and whether llmhop's configuration changes."""

    units: Mapping[int, UnitChanges]
    router_changes: bool


def make_plan(wanted: Rendered, uid: int | None, present: Present) -> Plan:
    """Plan the way from what is present to what is wanted.

    `uid` is the user to serve as, or None where no models are wanted. A changed
    unit is stopped before its source is replaced, so that whenever this ends
    early, what runs is what the sources say, and the next run goes on from there.
    """
    changes = {
        other: UnitChanges(stop=tuple(map(service_of, files)), delete=tuple(files))
        for other, files in present.quadlets.items()
        if other != uid and files
    }
    if uid is not None:
        there = present.quadlets.get(uid, {})
        stale = [name for name in there if name not in wanted.quadlets]
        write = {n: text for n, text in wanted.quadlets.items() if there.get(n) != text}
        changed = [name for name in write if name in there]
        changes[uid] = UnitChanges(
            stop=tuple(map(service_of, [*stale, *changed])),
            delete=tuple(stale),
            write=write,
            start=tuple(map(service_of, wanted.quadlets)),
        )
    return Plan(units=changes, router_changes=wanted.router != present.router)
