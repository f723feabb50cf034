"""Units of a user's manager that are masked, which nothing can start (systemctl(1), mask)."""

import os
import pwd
from pathlib import Path

from llmhop_generator.host.systemd import UnitState
from llmhop_generator.layout import ETC, runtime_dir
from llmhop_generator.state.search_paths import config_home, hiding_unit


def is_mask(path: Path) -> bool:
    """Whether a file of a unit masks it: it is empty, or a link to /dev/null."""
    is_empty = path.is_file() and path.stat().st_size == 0
    return is_empty or os.path.realpath(path) == os.devnull


def how_to_unmask(uid: int, unit: str, state: UnitState) -> str | None:
    """The commands that unmask a unit for a user's manager; None where it is not masked.

    A file that the manager has not read yet masks the unit from its next reload on.
    """
    path = hiding_unit(uid, unit)
    reload = f"`{_systemctl(uid)} daemon-reload`"
    if path is None or not is_mask(path):
        return reload if state.is_masked else None
    if (systemctl := _who_masks(uid, path)) is None or not path.is_symlink():
        return f"`rm {path}` and {reload}"
    unmask = f"`{systemctl} {unit}`"
    return f"{unmask} and {reload}" if "--global" in systemctl else unmask


def _systemctl(uid: int) -> str:
    try:
        return f"systemctl --user -M {pwd.getpwuid(uid).pw_name}@.host"
    except KeyError:  # the user is gone
        return f"systemctl --user -M {uid}@.host"


def _who_masks(uid: int, path: Path) -> str | None:
    """The command that takes a mask away, by where it lies (systemctl(1), --global, --runtime)."""
    home = config_home(uid)
    commands = {
        ETC / "systemd/user": "systemctl --global unmask",
        Path("/run/systemd/user"): "systemctl --global --runtime unmask",
        runtime_dir(uid) / "systemd/user": f"{_systemctl(uid)} unmask --runtime",
    }
    if home is not None:
        commands[home / "systemd/user"] = f"{_systemctl(uid)} unmask"
    return commands.get(path.parent)
