"""What a boot needs to start all again: the one list for `check`, `diff` and `status`.

What runs needs none of it, so that nothing else tells of it before the boot does.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from llmhop_generator.contract.options import Config
from llmhop_generator.errors import Finding, option_path
from llmhop_generator.host import files
from llmhop_generator.host.process import account_of, run
from llmhop_generator.host.systemd import UnitState, UserManager, is_enabled, system_states
from llmhop_generator.layout import (
    ETC,
    LINGER,
    MODELS_TARGET,
    ROUTER_UNIT,
    ROUTES_UNIT,
    SYSTEM_UNITS,
    USER_UNITS,
    model_files,
    quadlet_dir,
    user_manager,
)
from llmhop_generator.render.host_tree import host_files
from llmhop_generator.state.foreign_units import how_to_unmask

IS_NIXOS = Path("/etc/NIXOS").exists()
PROVISION_HINT = (
    "switch to the NixOS configuration" if IS_NIXOS else "run `llmhop-generator provision CONFIG`"
)
# Of users and directories it counts whether they are there.
_LOOKED_FOR = ("sysusers.d/", "tmpfiles.d/")
# Only `provision` is told the paths of the commands.
_COMMANDS = ("ExecStart=", "ExecReload=")
# What is for models of the configuration, and nothing to others.
_MOUNTS, _LIMIT = "WantsMountsFor=", "LimitNOFILE="
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_CLOSED = 'for d; do test -x "$d" || { printf %s "$d"; exit; }; done'


def model_boot_findings(user: str, uid: int) -> Iterator[Finding]:
    """Find what keeps a boot from starting the models of a user that exists.

    Raises:
        GeneratorError: a manager can't be asked.
    """
    for what in _manager_faults(user, uid):
        yield Finding.at(("vllm", "user"), what)


def _manager_faults(user: str, uid: int) -> Iterator[str]:
    if not (LINGER / user).exists():
        yield f"{user} does not linger, and would stop with a logout; {PROVISION_HINT}"
    manager = user_manager(uid)
    state = system_states([manager])[manager]
    if state.is_masked:
        yield (
            f"{manager} is masked, so nothing can start the models; unmask it by "
            f"`systemctl unmask {manager}`"
        )
    yield from _target_faults(uid, is_up=state.active == "active")
    if closed := _closed_directory(uid):
        yield (
            f"{closed} can't be passed by {user}, whose manager looks for the models' units below "
            f"it; let that user in, by `chmod 755 {closed}`"
        )


def _target_faults(uid: int, *, is_up: bool) -> Iterator[str]:
    target = next(filter(Path.exists, (each / MODELS_TARGET for each in USER_UNITS)), None)
    if target is None:
        what = f"{MODELS_TARGET}, which starts the models at boot, is not on this host"
        yield f"{what}; {PROVISION_HINT}"
    elif files.is_ours(files.read(target) or ""):
        for path in (ETC / name for name in model_files(uid)):
            if files.read(path) is None:
                yield f"{path} is not on this host; {PROVISION_HINT}"
            elif files.has_drifted(path):
                yield f"{path} has another owner or mode than it was given; {PROVISION_HINT}"
        if not is_enabled(MODELS_TARGET, "--global"):
            yield f"{MODELS_TARGET} is not enabled, so a boot starts no model; {PROVISION_HINT}"
    state = UnitState.parse("")
    if is_up:
        state = UserManager(account_of(uid)).states([MODELS_TARGET])[MODELS_TARGET]
    if unmask := how_to_unmask(uid, MODELS_TARGET, state):
        yield f"{MODELS_TARGET} is masked, so a boot starts no model; unmask it by {unmask}"


def _closed_directory(uid: int) -> str:
    """The first directory on the way to a user's units that this user can't pass, or none.

    The last one is `apply`'s to mend.
    """
    units = quadlet_dir(uid)
    way = dict.fromkeys([*reversed(units.parents), *reversed(units.resolve().parents)])
    words = [str(directory) for directory in way if directory.is_dir()]
    return run(["/bin/sh", "-c", _CLOSED, "sh", *words], account=account_of(uid)).stdout


def router_boot_findings(*, has_models: bool) -> Iterator[Finding]:
    """Find what keeps a boot from starting llmhop by the units that `provision` wrote.

    Its service brings its socket with it. With models on its host it also needs the service that
    gives their routes back.
    """
    if not files.is_ours(files.read(SYSTEM_UNITS / ROUTER_UNIT) or ""):
        return
    where = option_path(("llmhop", "enable"))
    if not is_enabled(ROUTER_UNIT):
        what = f"{ROUTER_UNIT} is not enabled, so a boot does not start it; {PROVISION_HINT}"
        yield Finding(where, what)
    if has_models:
        for what in _routes_unit_faults():
            yield Finding(where, f"{what}; {PROVISION_HINT}")


def _routes_unit_faults() -> Iterator[str]:
    path = SYSTEM_UNITS / ROUTES_UNIT
    text = files.read(path)
    gives = "gives llmhop the routes that an apply was cut off before giving"
    if text is None:
        yield f"{path}, which {gives}, is not on this host"
    elif files.is_ours(text):
        if files.has_drifted(path):
            yield f"{path} has another owner or mode than it was given"
        if not is_enabled(ROUTES_UNIT):
            yield f"{ROUTES_UNIT} is not enabled, so no boot {gives}"


def outdated_notes(config: Config) -> list[str]:
    """Say which files of `provision` it would write otherwise; nothing goes by them before a boot.

    What somebody else wrote in their place, as NixOS does, is theirs to change.

    Raises:
        GeneratorError: one can't be read.
    """
    outdated = []
    for name, text in host_files(config, "llmhop").items():
        there = "" if name.startswith(_LOOKED_FOR) else files.read(ETC / name) or ""
        if files.is_ours(there) and not _does(there, text):
            outdated.append(str(ETC / name))
    if not outdated:
        return []
    return [
        f"{', '.join(outdated)}: written by `provision` for another configuration, or by an "
        "earlier llmhop; run `llmhop-generator provision CONFIG` before the next boot"
    ]


def _does(there: str, wanted: str) -> bool:
    """Whether a unit on a host does what one that is wanted would, be it more than that.

    It may wait for mounts of volumes that no model has any more, and give more open files.
    """
    if _others(there) != _others(wanted):
        return False
    limits = [[int(n) for n in _words(_LIMIT, each) if n.isdecimal()] for each in (there, wanted)]
    return {*_words(_MOUNTS, wanted)} <= {*_words(_MOUNTS, there)} and limits[0] >= limits[1]


def _words(key: str, unit: str) -> list[str]:
    lines = [line.removeprefix(key) for line in unit.splitlines() if line.startswith(key)]
    return [word for line in lines for word in _WORD.findall(line)]


def _others(unit: str) -> list[str]:
    """The lines of a unit but for those that need not be the same."""
    return [
        line for line in unit.splitlines() if not line.startswith((*_COMMANDS, _MOUNTS, _LIMIT))
    ]
