"""Finds quickly that there is nothing to do.

After each success a stamp is kept of the configuration's bytes, of this program and of
what was written. Where all of it is the same, and every model is healthy and was started
by what its unit and its environment files hold now, a plan would have no steps: the
configuration need not even be parsed.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import llmhop_generator
from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.host import files
from llmhop_generator.host.process import Account, account_of
from llmhop_generator.host.systemd import (
    UnitState,
    UserManager,
    hard_open_files_limit,
    may_raise_limits,
    system_states,
)
from llmhop_generator.layout import (
    ETC,
    LINGER,
    ROUTER_BEFORE,
    ROUTER_CONFIG,
    ROUTER_UNITS,
    STAMP,
    UNFINISHED_ROUTES,
    provisioned_files,
    quadlet_dir,
    user_manager,
)
from llmhop_generator.planning.steps import Wanted
from llmhop_generator.preflight.storage.access import access_findings
from llmhop_generator.render.start_note import note_of, with_environment
from llmhop_generator.render.unit_reader import environment_files_of
from llmhop_generator.state.environment import digests, read_key
from llmhop_generator.state.foreign_units import foreign_drop_ins, hiding_files, how_to_unmask
from llmhop_generator.state.present import drifted_sources, read_note, read_sources, read_started
from llmhop_generator.state.router_service import router_drifted, router_runs
from llmhop_generator.state.source_drop_ins import read_source_drop_ins
from llmhop_generator.state.staging import staged_dir
from llmhop_generator.unit_names import service_of

PACKAGE = Path(llmhop_generator.__file__).parent
"""This program: another one may make other units of the same configuration."""


def remember(data: bytes, wanted: Wanted) -> None:
    """Keep a stamp of a configuration that was applied, all its models being healthy.

    Where it can't be kept the next run only takes longer.
    """
    stamp = {
        "input": _input_digest(data),
        "written": _written_digest(),
        "host": _host_digest(wanted.uid),
        "uid": wanted.uid,
        "openFiles": wanted.open_files,
    }
    with suppress(GeneratorError):
        files.write(STAMP, json.dumps(stamp, indent=2) + "\n", mode=0o600)


def is_up_to_date(data: bytes) -> bool:
    """Whether a plan for the configuration in `data` would have no steps, and nothing to tell."""
    try:
        stamp = json.loads(files.read(STAMP) or "{}")
        return (
            files.read(UNFINISHED_ROUTES) is None  # which a whole run takes away
            and stamp.get("input") == _input_digest(data)
            and stamp.get("written") == _written_digest()
            and stamp.get("host") == _host_digest(stamp["uid"])
            and _runs(stamp["uid"], stamp["openFiles"])
        )
    except (GeneratorError, ValueError, KeyError, TypeError, AttributeError, OSError):
        # What can't be read will be told by those who need it.
        return False


def _input_digest(data: bytes) -> str:
    """Digest a configuration and the program that would read it."""
    total = hashlib.sha256(llmhop_generator.__version__.encode())
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix != ".pyc" and path.is_file():
            found = path.stat()
            total.update(f"{path} {found.st_mtime_ns} {found.st_size}\n".encode())
    total.update(data)
    return total.hexdigest()


def _written_digest() -> str:
    """Digest the units of every user and llmhop's configuration, as they are now."""
    written = {str(uid): texts for uid, texts in sorted(read_sources().items()) if texts}
    text = json.dumps([written, files.read(ROUTER_CONFIG)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _host_digest(uid: int | None) -> str:
    """Digest what a host is given for a configuration before it is applied, as it is now.

    Another one may have been given since, and `apply` then has to say so.
    """
    paths = [ETC / name for name in (*provisioned_files(uid), "subuid", "subgid")]
    links = (ETC / "systemd").glob("*/*.wants/llmhop*")
    texts = [files.read(path) for path in paths]
    text = json.dumps([texts, sorted(map(str, links)), files.names_in(LINGER)])
    return hashlib.sha256(text.encode()).hexdigest()


def _runs(uid: int | None, open_files: int) -> bool:
    routed = any(files.read(path) is not None for path in (ROUTER_CONFIG, ROUTER_BEFORE))
    managers = [user_manager(uid)] if uid is not None else []
    states = system_states([*ROUTER_UNITS, *managers])
    if routed and (not router_runs(states) or router_drifted()):
        return False
    if any(states[manager].active != "active" for manager in managers):
        return False
    sources = read_sources()
    if any(_runs_without_unit(*of_user) for of_user in sources.items()):
        return False
    if uid is None:
        return True
    texts = sources.get(uid, {})
    if drifted_sources(uid, texts) or staged_dir(quadlet_dir(uid)).exists():
        return False
    limit = hard_open_files_limit(states[user_manager(uid)].main_pid)
    if limit < open_files and may_raise_limits():
        return False
    states = UserManager(account_of(uid)).states([*map(service_of, texts)])
    if not all(map(_is_as_read, states.values())) or not _started_by(uid, texts, states):
        return False
    if not _can_read(account_of(uid), texts):
        return False
    if any(how_to_unmask(uid, *of_unit) for of_unit in states.items()):
        return False  # which is for the preflight to tell, as are files that hide ours
    of_sources = read_source_drop_ins(uid)
    # A plan mends none, but each run tells of them.
    return not hiding_files(uid, states) and not any(
        foreign_drop_ins(*of_unit, of_sources) for of_unit in states.items()
    )


def _runs_without_unit(uid: int, texts: Mapping[str, str]) -> bool:
    """Whether a user's model is up of which there is no unit any more.

    Somebody may have started it while a run removed it.
    """
    left = [service_of(name) for name in read_started(uid) if name not in texts]
    manager = user_manager(uid)
    if not left or system_states([manager])[manager].active != "active":
        return False
    return any(s.active != "inactive" for s in UserManager(account_of(uid)).states(left).values())


def _can_read(account: Account, texts: Mapping[str, str]) -> bool:
    """Whether a user can read the environment files of all models."""
    paths = {path for text in texts.values() for path in environment_files_of(text)}
    tests = [("-r", path, Finding(path, "")) for path in sorted(paths)]
    return not tests or not any(access_findings(account, tests))


def _is_as_read(state: UnitState) -> bool:
    return state.active == "active" and state.load == "loaded" and not state.needs_reload


def _started_by(uid: int, texts: Mapping[str, str], states: Mapping[str, UnitState]) -> bool:
    """Whether each model was last started by its source, and its environment files as they are."""
    held = digests(texts, read_key())
    return all(
        note_of(text)
        == note_of(with_environment(text, held.get(name, "")))
        == read_note(uid, name, states[service_of(name)])
        for name, text in texts.items()
    )
