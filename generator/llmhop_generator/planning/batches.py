"""Which models have to be started, in batches that follow one another: a rolling update.

Models of one batch are replaced together; those that share a device are never in one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from llmhop_generator.planning.steps import Present, Wanted
from llmhop_generator.render.start_note import StartNote, note_of
from llmhop_generator.render.unit_reader import devices_of
from llmhop_generator.unit_names import service_of

_UP = ("active", "activating", "reloading", "stalled")

# Of each kind of GPU every container has these; they are no device of its own.
_CONTROL = frozenset(
    [
        "/dev/kfd",
        "/dev/nvidiactl",
        "/dev/nvidia-modeset",
        "/dev/nvidia-uvm",
        "/dev/nvidia-uvm-tools",
    ]
)
_NUMBER = re.compile(r"[0-9:]+$")


@dataclass(frozen=True)
class Restarts:
    """What has to happen to the models of the user that is to serve, by file name.

    running: active by another unit than the wanted one, or stalled.
    at_once: of those, stopped before anything starts.
    kept: of the others, those that run by their unit on disk, which stays until their batch.
    batches: what is replaced together, one batch after the other.
    last: started together at the end.
    starting: starting already, by the wanted unit.
    """

    running: tuple[str, ...] = ()
    at_once: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    batches: tuple[tuple[str, ...], ...] = ()
    last: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()

    @property
    def to_start(self) -> tuple[str, ...]:
        """All that is started."""
        return (*(name for batch in self.batches for name in batch), *self.last)


def plan_restarts(wanted: Wanted, present: Present, *, wait: bool = True) -> Restarts:
    """See what has to be started, from what each model was started by.

    Where nobody waits, nobody sees when a batch is over, and none may free memory while
    another starts: all that is replaced stops at once. Else only what publishes a port that
    another model is to have does.

    What was stopped by hand or by a run that was killed comes before what runs: it has
    nothing to lose. What has failed, or never ran, comes last: where it fails again,
    nothing waits for it, and others may have to make room for it.
    """
    if wanted.uid is None:
        return Restarts()
    states = present.states.get(wanted.uid, {})
    state = {name: states.get(service_of(name), "inactive") for name in wanted.sources}
    right = {
        name
        for name, text in wanted.sources.items()
        if present.notes.get(name) == note_of(text) and state[name] != "stalled"
    }
    running = tuple(n for n in wanted.sources if state[n] in _UP and n not in right)
    down = [n for n in wanted.sources if state[n] not in _UP]
    starting = tuple(n for n in wanted.sources if state[n] == "activating" and n in right)
    if not wait:
        last = tuple(n for n in wanted.sources if n in running or n in down)
        return Restarts(running, at_once=running, last=last, starting=starting)
    stopped = [n for n in down if running and state[n] != "failed" and n in present.notes]
    shares, reached, will = (
        _Sharing(wanted, present),
        reached_at(wanted, present),
        wanted_ports(wanted),
    )
    at_once = tuple(n for n in running if reached.get(n) in {will[o] for o in will if o != n})
    waiting = [n for n in running if n not in at_once]
    return Restarts(
        running=running,
        at_once=at_once,
        kept=tuple(n for n in waiting if _runs_by_its_unit(n, wanted, present)),
        batches=tuple(_batches([*stopped, *running], shares)),
        last=tuple(n for n in down if n not in stopped),
        starting=starting,
    )


def reached_at(wanted: Wanted, present: Present) -> dict[str, int]:
    """The port of each wanted model, by file name: where it runs, or will once it is started."""
    if wanted.uid is None:
        return {}
    there, states = present.sources_of(wanted.uid), present.states.get(wanted.uid, {})
    ports = {}
    for name, text in wanted.sources.items():
        is_up = states.get(service_of(name)) in _UP
        note = present.notes.get(name) if is_up else None
        note = note or note_of(there.get(name, text)) or note_of(text)
        if note is not None:
            ports[name] = note.port
    return ports


def wanted_ports(wanted: Wanted) -> dict[str, int]:
    """The port that each model has by its wanted unit, by file name."""
    notes = {name: note_of(text) for name, text in wanted.sources.items()}
    return {name: note.port for name, note in notes.items() if note is not None}


def _runs_by_its_unit(name: str, wanted: Wanted, present: Present) -> bool:
    there = present.sources_of(wanted.uid)
    return name in there and note_of(there[name]) == present.notes.get(name)


class _Sharing:
    """Which models can't be told to have devices of their own, before and after."""

    def __init__(self, wanted: Wanted, present: Present) -> None:
        there = present.sources_of(wanted.uid)
        self._devices = {
            name: _devices(text, there.get(name), present.notes.get(name))
            for name, text in wanted.sources.items()
        }

    def __call__(self, one: str, other: str) -> bool:
        first, second = self._devices[one], self._devices[other]
        # Without devices, or with all of them, or known by nothing: it may be any.
        if not first or not second:
            return True
        return any(_may_be_one(a, b) for a in first for b in second)


def _devices(new: str, old: str | None, note: StartNote | None) -> frozenset[str]:
    """The devices that a model has and will have; none where they are not known."""
    wanted = _devices_in(new)
    if note == note_of(new):
        return wanted
    has = _devices_in(old) if old is not None and note_of(old) == note else frozenset()
    return wanted | has if wanted and has else frozenset()


def _devices_in(source: str) -> frozenset[str]:
    devices = [device.removeprefix("-") for device in devices_of(source)]
    # What follows a path is its place in the container, and what may be done with it.
    return frozenset(d.split(":")[0] if d.startswith("/") else d for d in devices) - _CONTROL


def _may_be_one(one: str, other: str) -> bool:
    """Whether two names may stand for one GPU, which has an index, an id and several paths."""
    kind, name = _split(one)
    other_kind, other_name = _split(other)
    if (kind, _form(name)) != (other_kind, _form(other_name)) or name == "all":
        return True
    # A part of a GPU (MIG), beside the whole of it.
    first, second = name.split(":"), other_name.split(":")
    return all(a == b for a, b in zip(first, second, strict=False))


def _split(device: str) -> tuple[str, str]:
    """A CDI name's kind and name, or a path's directory and name."""
    kind, _, name = device.rpartition("/" if device.startswith("/") else "=")
    return kind, name


def _form(name: str) -> str:
    """What is alike in all names of one form: `0` and `0:1`, `GPU-…`, `renderD128`."""
    return _NUMBER.sub("", name) if "-" not in name else name.partition("-")[0]


def _batches(names: Iterable[str], shares: "_Sharing") -> Iterable[tuple[str, ...]]:
    """Put each model into the first batch after the last one with which it shares a device."""
    batches: list[list[str]] = []
    for name in names:
        with_it = [
            i for i, batch in enumerate(batches) if any(shares(name, each) for each in batch)
        ]
        place = with_it[-1] + 1 if with_it else 0
        if place == len(batches):
            batches.append([])
        batches[place].append(name)
    return map(tuple, batches)
