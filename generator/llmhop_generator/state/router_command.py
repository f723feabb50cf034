"""By which configuration file llmhop is started, and which the one that runs has read."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from llmhop_generator.host.systemd import UnitState, start_commands
from llmhop_generator.layout import ROUTER_CONFIG, ROUTER_UNIT

_OPTION = "--config"
_UNDO_HINT = (
    f"undo what makes it so, which `systemctl cat {ROUTER_UNIT}` shows (after `systemctl edit`: "
    f"`systemctl revert {ROUTER_UNIT}`)"
)


def foreign_command(state: UnitState) -> str | None:
    """Say by which file llmhop is started, where `apply` writes another one, and what to do.

    `state` is its service's. Where the unit does not tell, as with a script around llmhop, the
    process does.
    """
    words = [word for command in start_commands(ROUTER_UNIT) for word in command]
    named = _config_argument(words)
    if named is None or not Path(named).is_absolute():  # such as ${CONFIG}
        named = foreign_file_read(state)
    elif _is_ours(named):
        return None
    told = f"{ROUTER_UNIT} starts llmhop by {named}, not by {ROUTER_CONFIG}, which `apply` writes"
    return None if named is None else f"{told}; {_UNDO_HINT}"


def foreign_config(state: UnitState, *, is_on_its_way: bool) -> str | None:
    """Say by which other file llmhop is started, or runs, no `apply` being about to restart it."""
    told = foreign_command(state)
    if told or is_on_its_way:
        return told
    read = foreign_file_read(state)
    return f"llmhop runs by {read}, not by {ROUTER_CONFIG}; apply again" if read else None


def foreign_file_read(state: UnitState) -> str | None:
    """The file that the llmhop that runs has read, where it is not the one that `apply` writes.

    None where none runs, and where its command line does not tell.
    """
    process = Path("/proc", str(state.main_pid))
    try:
        line = (process / "cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    named = _config_argument(line.split("\0"))
    if named is None:
        return None
    path = str(Path(os.path.realpath(process / "cwd"), named))
    return None if _is_ours(path) else path


def _config_argument(words: Sequence[str]) -> str | None:
    """The file that a command line of llmhop names; the last one counts."""
    named = None
    for word, following in pairwise([*words, ""]):
        if word == _OPTION:
            named = following or None
        elif word.startswith(f"{_OPTION}="):
            named = word.partition("=")[2]
    return named


def _is_ours(path: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(ROUTER_CONFIG)
