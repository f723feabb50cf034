"""Where systemd and Podman look for a user's units, in the order in which the first file wins.

systemd's order is that of systemd.unit(5), "User Unit Search Path", up to what generators write;
Podman's that of podman-systemd.unit(5), "Podman rootless unit search path". The latter, and which
of several files in one place wins, was seen with Podman 5.4.
"""

import os
import pwd
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from llmhop_generator.layout import ETC, QUADLET_USERS, quadlet_dir, runtime_dir

_MOST_DIRECTORIES = 1000
"""So many are looked into: a link of a user's may lead to a whole file system."""


def config_home(uid: int) -> Path | None:
    """The directory of a user's own configuration; None where the user is gone."""
    try:
        return Path(pwd.getpwuid(uid).pw_dir) / ".config"
    except KeyError:
        return None


def unit_directories(uid: int) -> list[Path]:
    """The directories of units that come before those which Podman's generator makes."""
    runtime, home = runtime_dir(uid) / "systemd", config_home(uid)
    own = home / "systemd" if home is not None else None
    found = [own / "user.control"] if own is not None else []
    found += [runtime / name for name in ("user.control", "transient", "generator.early")]
    found += [own / "user"] if own is not None else []
    return [*found, ETC / "systemd/user", runtime / "user", Path("/run/systemd/user")]


def source_directories(uid: int) -> Iterator[Path]:
    """The directories of a user's Quadlet sources, through links."""
    yield from _walk(runtime_dir(uid) / "containers/systemd")
    if (home := config_home(uid)) is not None:
        yield from _walk(home / "containers/systemd")
    yield from _walk(QUADLET_USERS)
    yield from _walk(QUADLET_USERS / str(uid))


def hiding_unit(uid: int, service: str) -> Path | None:
    """The file of a unit that comes before the one which Podman's generator makes."""
    paths = (directory / service for directory in unit_directories(uid))
    return next((path for path in paths if _is_there(path)), None)


def hiding_sources(uid: int) -> dict[str, Path]:
    """The sources that come before those of ours of the same name, by that name."""
    ours = quadlet_dir(uid)
    found: dict[str, Path] = {}
    for directory in source_directories(uid):
        if os.path.realpath(directory) == os.path.realpath(ours) or _comes_after(directory, ours):
            break
        for path in directory.glob("*.container"):
            if _is_there(path):
                found.setdefault(path.name, path)
    return found


def _is_there(path: Path) -> bool:
    try:
        return path.is_symlink() or path.is_file()
    except OSError:
        return False  # in a directory that this process may not look into


def _comes_after(directory: Path, ours: Path) -> bool:
    """Whether a directory is read after ours, which may not be there yet."""
    beside = directory.is_relative_to(ours.parent) and directory != ours.parent
    return beside and directory.relative_to(ours.parent).parts[0] > ours.name


def _walk(root: Path) -> Iterator[Path]:
    """A directory and all below it, but for those that a number gives to one user."""
    above: dict[str, frozenset[str]] = {}
    for name, below, _ in islice(os.walk(root, followlinks=True), _MOST_DIRECTORIES):
        real, passed = os.path.realpath(name), above.get(str(Path(name).parent), frozenset())
        if real in passed:  # a link back
            below.clear()
            continue
        above[name] = passed | {real}
        path = Path(name)
        if path == QUADLET_USERS:
            below[:] = [each for each in below if not each.isdecimal()]
        below.sort()
        yield path
