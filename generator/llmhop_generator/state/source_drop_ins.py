"""Drop-ins of Quadlet sources, of which Podman makes a model's unit beside the source of ours.

systemd does not know of them. The names are those of podman-systemd.unit(5), "Drop-in files"; seen
with Podman 5.4.
"""

import os
from collections.abc import Mapping

from llmhop_generator.state.search_paths import source_directories

_TYPE = "container.d"


def read_source_drop_ins(uid: int) -> dict[str, list[str]]:
    """The drop-ins of a user's sources, by the names of the directories that hold them."""
    found: dict[str, list[str]] = {}
    for directory in source_directories(uid):
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
