"""Brings the host it runs on to the state that a configuration describes."""

import grp
import pwd
import resource
from collections.abc import Callable, Mapping
from pathlib import Path

from llmhop_generator import files
from llmhop_generator.contract import Config, Vllm
from llmhop_generator.errors import GeneratorError
from llmhop_generator.inventory import sources
from llmhop_generator.layout import (
    ROUTER_CONFIG,
    ROUTER_SOCKET,
    ROUTER_UNIT,
    ROUTER_USER,
    quadlet_dir,
    user_manager,
)
from llmhop_generator.plan import UnitChanges, plan_units
from llmhop_generator.podman import verify_quadlets
from llmhop_generator.preflight import preflight, require_root
from llmhop_generator.process import Account
from llmhop_generator.render import render
from llmhop_generator.systemd import (
    UserManager,
    hard_open_files_limit,
    last_messages,
    main_pid,
    system,
)

# What systemd gives a service, for the sake of select(2) (systemd.exec(5)).
_SOFT_OPEN_FILES = 1024

Report = Callable[[str], None]


def apply(config: Config, report: Report) -> list[str]:
    """Put files in place, queue the starts and reload llmhop; give the services to wait for.

    Raises:
        GeneratorError: the host is not ready or a step failed. Before the first
            step nothing is changed; after it, running this again goes on.
    """
    require_root("apply")
    wanted = render(config)
    vllm = config.vllm if isinstance(config.vllm, Vllm) else None
    if vllm is not None:
        preflight(vllm)
        verify_quadlets(wanted.quadlets)
    router_group = _router_group() if wanted.router is not None else None
    plan = plan_units(wanted.quadlets, vllm.uid if vllm else None, sources())
    # First, because it can be refused; and a route leaves before its model stops.
    _set_router(wanted.router, files.read(ROUTER_CONFIG), router_group, report)
    for uid, changes in plan.items():
        if vllm is None or uid != vllm.uid:
            _retire(uid, changes, report)
    if vllm is None:
        return []
    system("start", user_manager(vllm.uid))
    _raise_open_files_limit(vllm, report)
    manager = UserManager(Account(vllm.uid, vllm.gid))
    changes = plan[vllm.uid]
    _swap(manager, quadlet_dir(vllm.uid), changes, report)
    _start(manager, changes, report)
    return list(changes.start)


def _router_group() -> int:
    try:
        return grp.getgrnam(ROUTER_USER).gr_gid
    except KeyError:
        raise GeneratorError(
            f"the group {ROUTER_USER} does not exist on this host, and nothing was changed; "
            "run `llmhop-generator provision CONFIG`, or set services.llmhop.enable = false"
        ) from None


def _retire(uid: int, changes: UnitChanges, report: Report) -> None:
    """Stop and remove the units of a user that serves no longer."""
    if system("is-active", "--quiet", user_manager(uid), check=False).code == 0:
        manager = UserManager(Account(uid, pwd.getpwuid(uid).pw_gid))
        _swap(manager, quadlet_dir(uid), changes, report)
        manager.reload()
    else:
        _replace_files(quadlet_dir(uid), changes.write, changes.delete)


def _swap(manager: UserManager, directory: Path, changes: UnitChanges, report: Report) -> None:
    for service in changes.stop:
        report(f"stopping {service}")
    # Last started, first stopped.
    manager.stop(changes.stop[::-1])
    if changes.stop:
        # Or a failed unit would be listed on, also when its source is gone.
        manager.call("reset-failed", *changes.stop, check=False)
    _replace_files(directory, changes.write, changes.delete)


def _replace_files(directory: Path, write: Mapping[str, str], delete: tuple[str, ...]) -> None:
    for name in delete:
        files.remove(directory / name)
    for name, text in write.items():
        files.write(directory / name, text)


def _start(manager: UserManager, changes: UnitChanges, report: Report) -> None:
    if not changes.start:
        if changes.delete:
            manager.reload()
        return
    states = manager.states(changes.start)
    down = [service for service in changes.start if states[service].active != "active"]
    # Also where no file changed: a run that was ended early may have left it out.
    if down or changes.write or changes.delete:
        manager.reload()
    if not down:
        return
    states = manager.states(down)
    if unknown := [service for service in down if states[service].load != "loaded"]:
        raise GeneratorError(
            f"the user's manager did not load {', '.join(unknown)}; "
            "see that Podman's user generator is installed for user managers"
        )
    report(f"starting {', '.join(down)}")
    manager.start(down)


def _raise_open_files_limit(vllm: Vllm, report: Report) -> None:
    """Lift the running user manager's hard limit to what its units ask for.

    systemd clamps LimitNOFILE= of a user unit to the manager's own hard limit; the
    drop-in that raises it counts only from the manager's next start.
    """
    unit = user_manager(vllm.uid)
    pid = main_pid(unit)
    if hard_open_files_limit(pid) >= vllm.open_files_limit:
        return
    limits = (min(_SOFT_OPEN_FILES, vllm.open_files_limit), vllm.open_files_limit)
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    except OSError as error:
        report(
            f"warning: services.llmhop.vllm.openFilesLimit: the models get less than "
            f"{vllm.open_files_limit}: the limit of {unit} can't be raised ({error.strerror})"
        )


def _set_router(wanted: str | None, present: str | None, group: int | None, report: Report) -> None:
    """Give llmhop its configuration, and have it reloaded or started.

    Raises:
        GeneratorError: llmhop refuses the configuration; it serves by the old one on.
    """
    if wanted is None:
        if present is not None:
            report("stopping llmhop")
            system("stop", ROUTER_SOCKET, ROUTER_UNIT, check=False)
            files.remove(ROUTER_CONFIG)
        return
    if wanted == present:
        system("start", ROUTER_UNIT)
        return
    report("giving llmhop its new configuration")
    files.write(ROUTER_CONFIG, wanted, mode=0o640, group=group)
    done = system("reload-or-restart", ROUTER_UNIT, check=False)
    if done.code == 0:
        return
    if present is not None:
        files.write(ROUTER_CONFIG, present, mode=0o640, group=group)
    raise GeneratorError(
        "llmhop does not take its new configuration (services.llmhop.settings), "
        f"and no model was touched; it says:\n{last_messages(ROUTER_UNIT, ROUTER_SOCKET)}"
    )
