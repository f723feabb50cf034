"""Files of somebody else by which a model runs: in the place of its unit, or added to it."""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from llmhop_generator.host.systemd import UnitState
from llmhop_generator.layout import USER_UNITS, quadlet_dir, runtime_dir
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


def hiding_file(uid: int, service: str, state: UnitState) -> str | None:
    """The file that a user's manager has read a model's unit from, where it is not ours.

    That user's own come before those of /etc, as sources of Podman's (podman-systemd.unit(5)) and
    as units, which also hide what a generator makes (systemd.unit(5)). Also one that the manager
    can't use hides ours.
    """
    if state.is_masked or not state.fragment:
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
    """Say of a model's unit which file it is made of in the place of ours, and what to do."""
    return (
        f"made of {path}, which hides the one that `apply` writes; move that file away, have the "
        "manager of its user reload (`systemctl --user daemon-reload`), and apply again"
    )
