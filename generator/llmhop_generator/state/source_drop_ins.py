"""Drop-ins of Quadlet sources, of which Podman makes a model's unit beside the source of ours.

systemd does not know of them. The directories are those of podman-systemd.unit(5), "Podman
rootless unit search path", and the names those of its "Drop-in files"; seen with Podman 5.4.
"""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from llmhop_generator.layout import QUADLET_USERS, runtime_dir

_TYPE = "container.d"
_MOST_DIRECTORIES = 1000
"""So many are looked into: a link of a user's may lead to a whole file system."""


def read_source_drop_ins(uid: int) -> dict[str, list[str]]:
    """The drop-ins of a user's sources, by the names of the directories that hold them."""
    found: dict[str, list[str]] = {}
    for root in _search_path(uid):
        for directory in _directories(root, uid):
            paths = sorted(map(str, directory.glob("*.conf")))
            found.setdefault(directory.name, []).extend(paths)
    return found


def drop_ins_of(source: str, read: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Those of one source, by its file name."""
    words = source.removesuffix(".container").split("-")
    begins = ["-".join(words[:count]) + "-" for count in range(1, len(words))]
    names = [_TYPE, *(f"{begin}.{_TYPE}" for begin in begins), f"{source}.d"]
    told: dict[str, str] = {}
    for path in (path for name in names for path in read.get(name, ())):
        told.setdefault(os.path.realpath(path), path)  # through links it may be there twice
    return tuple(told.values())


def _search_path(uid: int) -> Iterator[Path]:
    yield runtime_dir(uid) / "containers/systemd"
    with suppress(KeyError):  # the user is gone
        yield Path(pwd.getpwuid(uid).pw_dir) / ".config/containers/systemd"
    yield QUADLET_USERS


def _directories(root: Path, uid: int) -> Iterator[Path]:
    """A directory and all below it, through links, but for those of other users."""
    above: dict[str, frozenset[str]] = {}
    for name, below, _ in islice(os.walk(root, followlinks=True), _MOST_DIRECTORIES):
        real, passed = os.path.realpath(name), above.get(str(Path(name).parent), frozenset())
        if real in passed:  # a link back
            below.clear()
            continue
        above[name] = passed | {real}
        path = Path(name)
        if path == QUADLET_USERS:
            below[:] = [each for each in below if not each.isdecimal() or each == str(uid)]
        yield path
