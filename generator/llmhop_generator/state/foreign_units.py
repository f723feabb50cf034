"""Files of somebody else by which a model runs: in the place of its unit, or added to it."""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from llmhop_generator.host.systemd import UnitState
from llmhop_generator.layout import ETC, USER_UNITS, quadlet_dir, runtime_dir
from llmhop_generator.state.search_paths import config_home, hiding_sources, hiding_unit
from llmhop_generator.state.source_drop_ins import drop_ins_of
from llmhop_generator.unit_names import UNIT_PREFIX, source_of

# What comes with the system speaks of no unit of ours; below /usr/local is what an administrator
# adds (hier(7)), and in the Nix store what NixOS was told.
_OF_THE_SYSTEM = ("/usr/", "/lib/")
_OF_ADMINISTRATORS = "/usr/local/"
_OF_ANY_UNIT = ("service.d", "container.d")
_STORE = "/nix/store/"
_GENERATED = ("systemd/generator", "systemd/generator.early", "systemd/generator.late")
# The NixOS module's own, where /etc is no tree of links.
_OWN = f"/etc/systemd/user/{UNIT_PREFIX}.service.d/llmhop.conf"


def hiding_files(uid: int, states: Mapping[str, UnitState]) -> dict[str, str]:
    """The files of which models' units are made, or are from the next reload on, by service.

    Only those are among them that are not ours. A user's own come before those of /etc, as sources
    of Podman's and as units, which also hide what a generator makes (`search_paths`). Also one that
    the manager can't use hides ours.
    """
    sources = hiding_sources(uid)
    found: dict[str, str] = {}
    for service, state in states.items():
        if state.is_masked:
            continue
        unit, source = hiding_unit(uid, service), sources.get(source_of(service))
        if read := _read_from(uid, service, state):
            found[service] = read
        elif unit is not None and not _is_mask(unit):
            found[service] = str(unit)
        elif unit is None and source is not None:
            found[service] = str(source)
    return found


def _read_from(uid: int, service: str, state: UnitState) -> str | None:
    """The file that a user's manager has read a model's unit from, where it is not ours."""
    if not state.fragment:
        return None
    fragment = Path(state.fragment)
    if fragment.parent not in [runtime_dir(uid) / name for name in _GENERATED]:
        return state.fragment
    if fragment.name != service:
        return next(_aliases(uid, service), state.fragment)
    own, read = quadlet_dir(uid), Path(state.source).parent
    is_own = not state.source or os.path.realpath(read) == os.path.realpath(own)
    return None if is_own else state.source


def _aliases(uid: int, service: str) -> Iterator[str]:
    """The links by which a unit of a user has the name of another (systemd.unit(5), aliases)."""
    roots = [runtime_dir(uid) / "systemd", *(unit.parent for unit in USER_UNITS)]
    with suppress(KeyError):  # the user is gone
        roots.insert(0, Path(pwd.getpwuid(uid).pw_dir) / ".config/systemd")
    for name in ("user.control", "user"):
        for path in (root / name / service for root in roots):
            if path.is_symlink():
                yield str(path)


def foreign_drop_ins(
    service: str, state: UnitState, of_sources: Mapping[str, list[str]]
) -> tuple[str, ...]:
    """The drop-ins of a unit and of its source, but for those that come with the system."""
    return tuple(
        path
        for path in (*state.drop_ins, *drop_ins_of(source_of(service), of_sources))
        if path != _OWN and not _comes_with_the_system(path)
    )


def _comes_with_the_system(path: str) -> bool:
    real = os.path.realpath(path)
    is_general = Path(path).parent.name in _OF_ANY_UNIT and not real.startswith(_OF_ADMINISTRATORS)
    return real.startswith(_STORE) or (is_general and real.startswith(_OF_THE_SYSTEM))


def describe_drop_ins(service: str, drop_ins: tuple[str, ...]) -> str:
    """Say of a model's unit what changes it, and what to do."""
    on_a_line = (path.replace("\n", "\\n").replace("\t", "\\t") for path in drop_ins)
    told = (
        f"changed by {', '.join(on_a_line)}, which the configuration knows nothing of; move that "
        "to containerConfig, serviceConfig or unitConfig"
    )
    if any(Path(path).parent.name == f"{service}.d" for path in drop_ins):
        told += f" (after `systemctl --user edit` of its user: `systemctl --user revert {service}`)"
    return told


def describe_hiding_file(path: str) -> str:
    """Say of a model's unit which file hides the one of ours, and what to do."""
    return (
        f"hidden by {path}, of which systemd makes it, from the next reload of its user's manager "
        "on, in the place of what `apply` writes; move that file away, have the manager reload "
        "(`systemctl --user daemon-reload`), and apply again"
    )


def _is_mask(path: Path) -> bool:
    """Whether a file of a unit masks it: it is empty, or a link to /dev/null."""
    is_empty = path.is_file() and path.stat().st_size == 0
    return is_empty or os.path.realpath(path) == os.devnull


def how_to_unmask(uid: int, unit: str, state: UnitState) -> str | None:
    """The commands that unmask a unit for a user's manager; None where it is not masked.

    A file that the manager has not read yet masks the unit from its next reload on.
    """
    path = hiding_unit(uid, unit)
    reload = f"`{_systemctl(uid)} daemon-reload`"
    if path is None or not _is_mask(path):
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
