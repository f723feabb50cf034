"""Reads the present state of a host, for a plan; it changes nothing."""

from collections.abc import Iterable, Mapping

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import files
from llmhop_generator.host.podman import LostContainersError, has_image
from llmhop_generator.host.process import account_of
from llmhop_generator.host.systemd import (
    UnitState,
    UserManager,
    hard_open_files_limit,
    may_raise_limits,
    system_states,
)
from llmhop_generator.layout import (
    QUADLET_USERS,
    ROUTER_CONFIG,
    ROUTER_UNITS,
    quadlet_dir,
    runtime_dir,
    user_manager,
)
from llmhop_generator.planning.steps import Present, Wanted
from llmhop_generator.render.start_note import Started, StartNote, note_file, note_of
from llmhop_generator.render.unit_reader import image_of
from llmhop_generator.state.foreign_units import foreign_drop_ins
from llmhop_generator.state.router_service import router_drifted, router_runs
from llmhop_generator.state.source_drop_ins import read_source_drop_ins
from llmhop_generator.state.wanted_notes import last_user
from llmhop_generator.unit_names import UNIT_PREFIX, service_of, source_of

Sources = dict[int, dict[str, str]]
_NOTE_BYTES = 1 << 22  # more than any source has


def read_sources() -> Sources:
    """Read our Quadlet sources: texts by uid and file name.

    Of a user of whose files none are left, models may still run.

    Raises:
        GeneratorError: one can't be read.
    """
    uids = [int(name) for name in files.names_in(QUADLET_USERS) if name.isdecimal()]
    if (last := last_user()) is not None and last not in uids:
        uids.append(last)
    return {uid: files.read_ours(quadlet_dir(uid)) for uid in uids}


def drifted_sources(uid: int, names: Iterable[str]) -> frozenset[str]:
    """Those of a user's sources that have another owner or mode than we give them.

    The user's manager may then not read them. It counts for all where it is their directory.
    """
    directory = quadlet_dir(uid)
    if files.has_drifted(directory, mode=0o755):
        return frozenset(names)
    return frozenset(name for name in names if files.has_drifted(directory / name))


def read_present(wanted: Wanted) -> Present:
    """Read what a plan for `wanted` has to know of this host.

    Raises:
        GeneratorError: something can't be read, or a manager can't be asked.
    """
    there = read_sources()
    uids = {uid for uid, texts in there.items() if texts or read_started(uid)}
    uids |= {u for u in [wanted.uid] if u}
    units = system_states([*ROUTER_UNITS, *map(user_manager, uids)])
    up = {uid for uid in uids if units[user_manager(uid)].active == "active"}
    images, lost = None, False
    try:
        images = _images(wanted, up)
    except LostContainersError:
        lost = True
        up -= {wanted.uid}
    found = {
        uid: _states(uid, [*there.get(uid, {}), *_wanted_names(wanted, uid), *read_started(uid)])
        for uid in up
    }
    return Present(
        sources=there,
        states={uid: _active_states(uid, of) for uid, of in found.items()},
        outdated=frozenset(
            uid for uid, of in found.items() if _is_outdated(of, there.get(uid, {}))
        ),
        drifted={uid: drifted_sources(uid, texts) for uid, texts in there.items()},
        images=images,
        lost_containers=lost,
        router=files.read(ROUTER_CONFIG),
        router_runs=router_runs(units) and not router_drifted(),
        notes=_notes(wanted, there, found),
        drop_ins=_drop_ins(wanted, found),
        open_files=_open_files(wanted, units),
        limits_are_fixed=not may_raise_limits(),
    )


def read_models(wanted: Wanted) -> Present:
    """Read only by what units the wanted models run, and by which they would be started.

    Where the user's manager can't be asked it is as if nothing ran.

    Raises:
        GeneratorError: a source can't be read.
    """
    there = read_sources()
    if wanted.uid is None:
        return Present(sources=there)
    try:
        states = _states(wanted.uid, wanted.sources)
        words = _active_states(wanted.uid, states)
    except GeneratorError:
        return Present(sources=there)
    notes = _notes(wanted, there, {wanted.uid: states})
    return Present(sources=there, states={wanted.uid: words}, notes=notes)


def _is_outdated(states: Mapping[str, UnitState], there: Iterable[str]) -> bool:
    """Whether a manager has read another unit than is there, or none as it could not read it."""
    unread = any(states[service_of(name)].load == "not-found" for name in there)
    return unread or any(state.needs_reload for state in states.values())


def _wanted_names(wanted: Wanted, uid: int) -> Iterable[str]:
    return wanted.sources if uid == wanted.uid else ()


def _states(uid: int, names: Iterable[str]) -> Mapping[str, UnitState]:
    services = sorted({service_of(name) for name in names})
    return UserManager(account_of(uid)).states(services)


def _active_states(uid: int, states: Mapping[str, UnitState]) -> Mapping[str, str]:
    """The states in systemd's words; what waits for its turn to start is as good as starting.

    The one word of ours is "stalled"; see `UserManager.stalled`.
    """
    words = {s: "activating" if state.is_queued else state.active for s, state in states.items()}
    return words | dict.fromkeys(UserManager(account_of(uid)).stalled(states), "stalled")


def read_start(uid: int, name: str) -> Started | None:
    """What the last start of a source left, while its user's manager ran."""
    text = files.read_of_others(runtime_dir(uid) / note_file(service_of(name)), _NOTE_BYTES)
    return Started.parse(text) if text is not None else None


def read_note(uid: int, name: str, state: UnitState | None = None) -> StartNote | None:
    """Read the note of a model's last start; None where there is none, or none that is certain.

    With the `state` of its service a note counts only if it is of the start which that tells of.
    """
    start = read_start(uid, name)
    if start is None or start.text is None:
        return None
    if state is not None and state.is_up and state.invocation != start.invocation:
        return None
    return note_of(start.text)


def read_started(uid: int) -> dict[str, str]:
    """Read the sources by which models of ours were started, also where their files are gone.

    A source is empty where its file was gone at that start already.
    """
    names = [
        source_of(path.stem) for path in sorted(runtime_dir(uid).glob(f"{UNIT_PREFIX}*.started"))
    ]
    present = files.names_in(quadlet_dir(uid))
    found: dict[str, str] = {}
    for name in names:
        left = files.read_of_others(runtime_dir(uid) / note_file(service_of(name)), _NOTE_BYTES)
        started = Started.parse(left or "")
        text = (started.text if started else None) or ""
        if files.is_ours(text or left or ""):
            found[name] = text
        elif left and "[Container]" not in left and name not in present:  # nothing to copy
            found[name] = ""
    return found


def _notes(
    wanted: Wanted, there: Sources, found: Mapping[int, Mapping[str, UnitState]]
) -> Mapping[str, StartNote]:
    if wanted.uid is None or wanted.uid not in found:
        return {}
    notes: dict[str, StartNote | None] = {}
    for name in wanted.sources:
        state = found[wanted.uid][service_of(name)]
        # The note is of an earlier start; this one will be by what the manager has read.
        if not state.is_to_start:
            notes[name] = read_note(wanted.uid, name, state)
        elif not state.needs_reload and name in there.get(wanted.uid, {}):
            notes[name] = note_of(there[wanted.uid][name])
    return {name: note for name, note in notes.items() if note is not None}


def _drop_ins(
    wanted: Wanted, found: Mapping[int, Mapping[str, UnitState]]
) -> Mapping[str, tuple[str, ...]]:
    if wanted.uid is None:
        return {}
    states, of_sources = found.get(wanted.uid, {}), read_source_drop_ins(wanted.uid)
    told = {
        service: foreign_drop_ins(service, states[service], of_sources)
        for service in map(service_of, wanted.sources)
        if service in states
    }
    return {service: paths for service, paths in told.items() if paths}


def _images(wanted: Wanted, up: Iterable[int]) -> frozenset[str] | None:
    """The images that are there, of those that are wanted; Podman needs the user's manager."""
    if wanted.uid is None:
        return frozenset()
    if wanted.uid not in up:
        return None
    account = account_of(wanted.uid)
    named = {image_of(text)[0] for text in wanted.sources.values()}
    return frozenset(image for image in sorted(named) if has_image(account, image))


def _open_files(wanted: Wanted, units: Mapping[str, UnitState]) -> float:
    pid = units[user_manager(wanted.uid)].main_pid if wanted.uid is not None else 0
    return hard_open_files_limit(pid) if pid else wanted.open_files
