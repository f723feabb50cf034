"""Keys of [Container] that exclude one another, with those that llmhop writes before them."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from llmhop_generator.contract.keys.arguments import flags_of
from llmhop_generator.contract.keys.lines import joined, values_of, words_of
from llmhop_generator.contract.keys.mounts import TARGETS

Lines = Mapping[str, Sequence[str]]

# Each key and the argument that is the same.
_MAPPINGS = {
    "GIDMap": "--gidmap",
    "SubGIDMap": "--subgidname",
    "SubUIDMap": "--subuidname",
    "UIDMap": "--uidmap",
}


def conflicts(ours: Lines, keys: Lines) -> Iterator[tuple[str, str]]:
    """Find keys that Podman takes no two of: one of them, and what to do.

    ours: the lines that llmhop writes itself, of keys that take several.
    keys: those of a model that come after, and of every model among them.
    """
    yield from _user_namespaces(keys)
    groups = joined(keys.get("GroupAdd", ())).split()
    if "keep-groups" in groups and len(groups) > 1:
        yield (
            "GroupAdd",
            "has keep-groups beside others, and Podman takes it alone; leave the others out",
        )
    added, dropped = (
        {*",".join(words_of([*ours.get(key, ()), *keys.get(key, ())])).lower().split(",")}
        for key in ("AddCapability", "DropCapability")
    )
    if "all" in added & dropped:
        yield (
            "AddCapability",
            'has all beside DropCapability = "all", which llmhop writes, and Podman takes one of '
            'the two; name those that are needed, or set DropCapability = ""',
        )
    yield from _limits(keys)
    yield from _places(ours, keys)


def _user_namespaces(keys: Lines) -> Iterator[tuple[str, str]]:
    given = {key for key, items in keys.items() if any(values_of(items))}
    arguments = {flag for flag, _ in flags_of(joined(keys.get("PodmanArgs", ())))}
    modes = [key for key in ("UserNS", "--userns") if key in given | arguments]
    mappings = [name for pair in _MAPPINGS.items() for name in pair if name in given | arguments]
    for mode in modes[:1]:
        where = mode if mode in given else "PodmanArgs"
        what = "Podman takes one of the two; leave one out"
        yield from ((where, f"has {mode} beside {name}, and {what}") for name in mappings)


def _limits(keys: Lines) -> Iterator[tuple[str, str]]:
    limits = values_of(keys.get("Ulimit", ()))
    # GenRlimits in pkg/specgenutil/specgen.go of Podman 5.4.
    if "host" in limits[:-1]:
        yield "Ulimit", "has others beside host, which Podman passes over; leave host out, or them"


class _Place(NamedTuple):
    """A place in a container where a line has something mounted."""

    key: str
    target: str
    kind: str  # what Podman keeps apart: tmpfs, bind, or the name of a volume
    what: tuple[str, ...]  # two that are the same in all of this are taken

    def excludes(self, other: "_Place") -> bool:
        if self.target != other.target or self[2:] == other[2:]:
            return False
        if "Mount" in (self.key, other.key) and self.key != other.key:
            # How the two spell one thing is Podman's to compare.
            return self.kind != other.kind
        return True


def _places(ours: Lines, keys: Lines) -> Iterator[tuple[str, str]]:
    """Find places that have something mounted twice (parseVolumes of Podman 5.4)."""
    found: list[tuple[_Place, bool]] = []
    for key in ("Mount", "Volume", "Tmpfs"):
        own = [*ours.get(key, ())]
        items = [*own, *keys.get(key, ())]
        count = len(own) if "" not in [text.strip() for text in items] else 0
        lines = words_of(items) if key == "Mount" else values_of(items)
        for index, line in enumerate(lines):
            if not {"%", '"'} & {*line}:
                found.append((_place(key, line), index < count))
    for (one, one_is_ours), (two, two_is_ours) in combinations(found, 2):
        if one.excludes(two):
            theirs, other = (one, two) if two_is_ours else (two, one)
            yield theirs.key, _twice(theirs, other if one_is_ours or two_is_ours else None)


def _twice(place: _Place, ours: _Place | None) -> str:
    what = f"has {place.target} once more, and Podman mounts one thing in one place; "
    if ours is None:
        return what + "leave one out"
    return what + (
        f'take another place, or set {ours.key} = [ "" … ], which leaves out what llmhop mounts'
    )


def _place(key: str, line: str) -> _Place:
    if key == "Mount":
        fields = dict(each.partition("=")[::2] for each in line.split(","))
        target = next((fields[name] for name in TARGETS & fields.keys()), "")
        kind = fields.get("type", "")
        return _Place(key, posixpath.normpath(target), kind, (line,))
    first, *rest = line.split(":")
    if key == "Tmpfs":
        return _Place(key, first, "tmpfs", tuple(sorted(",".join(rest[:1]).split(","))))
    if not rest:
        return _Place(key, first, "volume", ("",))
    target, *options = rest
    if first.startswith(("/", ".")):
        return _Place(key, target, "bind", (first, *sorted(",".join(options).split(","))))
    return _Place(key, target, "volume", (first,))
