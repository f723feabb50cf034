"""Files of somebody else by which a model runs: in the place of its unit, or added to it."""

import os
from collections.abc import Mapping
from pathlib import Path

from llmhop_generator.host.systemd import UnitState
from llmhop_generator.layout import quadlet_dir, runtime_dir
from llmhop_generator.state.source_drop_ins import drop_ins_of
from llmhop_generator.unit_names import UNIT_PREFIX, source_of

# Below these is what comes with the system, and what NixOS was told (systemd.unit(5)).
_OF_THE_SYSTEM = ("/usr/", "/lib/", "/nix/store/")
_GENERATED = ("systemd/generator", "systemd/generator.early", "systemd/generator.late")
# The NixOS module's own, where /etc is no tree of links.
_OWN = f"/etc/systemd/user/{UNIT_PREFIX}.service.d/llmhop.conf"


def hiding_file(uid: int, state: UnitState) -> str | None:
    """The file that a user's manager has read a model's unit from, where it is not ours.

    That user's own come before those of /etc, as sources of Podman's (podman-systemd.unit(5)) and
    as units, which also hide what a generator makes (systemd.unit(5)).
    """
    if state.load != "loaded" or not state.fragment:
        return None
    if Path(state.fragment).parent not in [runtime_dir(uid) / name for name in _GENERATED]:
        return state.fragment
    own, read = quadlet_dir(uid), Path(state.source).parent
    is_own = not state.source or os.path.realpath(read) == os.path.realpath(own)
    return None if is_own else state.source


def foreign_drop_ins(
    service: str, state: UnitState, of_sources: Mapping[str, list[str]]
) -> tuple[str, ...]:
    """The drop-ins of a unit and of its source, but for those that come with the system."""
    return tuple(
        path
        for path in (*state.drop_ins, *drop_ins_of(source_of(service), of_sources))
        if path != _OWN and not os.path.realpath(path).startswith(_OF_THE_SYSTEM)
    )


def changed_by(service: str, drop_ins: tuple[str, ...]) -> str:
    """Say of a model's unit what changes it, and what to do."""
    told = (
        f"changed by {', '.join(drop_ins)}, which the configuration knows nothing of; move that to "
        "containerConfig, serviceConfig or unitConfig"
    )
    if any(Path(path).parent.name == f"{service}.d" for path in drop_ins):
        told += f" (after `systemctl --user edit` of its user: `systemctl --user revert {service}`)"
    return told


def made_of(path: str) -> str:
    """Say of a model's unit which file it is made of in the place of ours, and what to do."""
    return (
        f"made of {path}, which hides the one that `apply` writes; move that file away, have the "
        "manager of its user reload (`systemctl --user daemon-reload`), and apply again"
    )
