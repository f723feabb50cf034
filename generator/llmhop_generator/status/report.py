"""How the models on this host are, for people and for programs."""

import json
import pwd
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from llmhop_generator.errors import Finding
from llmhop_generator.host import files
from llmhop_generator.host.lock import run_at_work
from llmhop_generator.host.process import account_of, acts_as, is_root
from llmhop_generator.host.systemd import (
    UnitState,
    UserManager,
    may_read_journal,
    system_states,
)
from llmhop_generator.layout import ROUTER_CONFIG, ROUTER_UNIT, user_manager
from llmhop_generator.preflight.boot import (
    PROVISION_HINT,
    model_boot_findings,
    router_boot_findings,
)
from llmhop_generator.render.unit_reader import Entry, entries
from llmhop_generator.router.routes import route_names
from llmhop_generator.state.foreign_units import (
    describe_drop_ins,
    describe_hiding_file,
    foreign_drop_ins,
    hiding_files,
    how_to_unmask,
)
from llmhop_generator.state.present import drifted_sources, read_note, read_sources, read_started
from llmhop_generator.state.router_command import foreign_config
from llmhop_generator.state.source_drop_ins import read_source_drop_ins
from llmhop_generator.state.unfinished_routes import CUT_OFF, read_unfinished
from llmhop_generator.state.wanted_notes import read_wanted_notes
from llmhop_generator.status.containers import RUNNING, Container, Storage, read_storage
from llmhop_generator.status.failures import why, why_router
from llmhop_generator.status.wait import Outcome, outcome
from llmhop_generator.unit_names import container_of, service_of, source_of

HEAD = ("MODEL", "STATE", "UP", "RESTARTS", "PORT", "DEVICES", "IMAGE")

_STALLED = (
    "its podman was killed while it started, so nothing will say when it is up; restart it or "
    "apply again"
)
_UNROUTED = "llmhop has no route to it; apply again, which routes what the configuration has"
_EARLIER = "it runs by another unit than the configuration asks for; apply again to replace it"
_EDITED = (
    "its unit file is not what the configuration asks for, as if it was edited, removed or given "
    "another owner or mode by hand; apply again to put it back"
)


@dataclass(frozen=True)
class ModelStatus:
    """One model, as it runs. `state` names an `Outcome`, in lower case; `up_s` is in seconds.

    Where the service is healthy and its container does not run, `state` is Podman's word for that.
    Of a model whose user's manager may not be asked, `state` is `unknown` and `restarts` None.
    `earlier_unit` says that it runs by another unit than the configuration asks for, or by one that
    nothing tells of; `edited_unit` that it runs by the right one, and its file is another or
    gone; `unrouted` that llmhop is there and not told of it. `hidden_by` is a file of somebody
    else that its unit is made of, in the place of ours, `drop_ins` are those added to it.
    """

    model: str
    state: str
    up_s: int | None
    restarts: int | None
    port: int | None
    image: str
    image_id: str | None
    image_digest: str | None
    devices: tuple[str, ...]
    unit: str
    last_error: str | None
    earlier_unit: bool = False
    edited_unit: bool = False
    unrouted: bool = False
    hidden_by: str | None = None
    drop_ins: tuple[str, ...] = ()


@dataclass(frozen=True)
class RouterStatus:
    """llmhop: its state in systemd's words, and what it says of itself.

    `foreign_config` says that it has read another file than the one that `apply` writes, or is
    started by one.
    """

    state: str
    up_s: int | None
    restarts: int
    says: str
    unit: str
    last_error: str | None
    foreign_config: str | None = None


@dataclass(frozen=True)
class Status:
    """All models of this host, and llmhop.

    `unseen` is what this process may not see; `boot` what keeps a boot from starting them;
    `unanswered` why Podman could not be asked of images and containers. While the run
    with the pid `applying` brings the host to a configuration, what it is yet to do is not told of
    models. `cut_off` says that the last one was killed before its end, as by a power cut.
    """

    models: tuple[ModelStatus, ...]
    llmhop: RouterStatus
    unseen: tuple[str, ...] = ()
    boot: tuple[Finding, ...] = ()
    unanswered: tuple[str, ...] = ()
    applying: int | None = None
    cut_off: bool = False


def status() -> Status:
    """Ask the managers, Podman and the journal, as far as this process may.

    Raises:
        GeneratorError: a manager can't be asked that may be.
    """
    applying = run_at_work()
    # Of whose models nothing can be told, those may run that have no file any more.
    found = {
        uid: texts
        for uid, texts in read_sources().items()
        if texts or not acts_as(uid) or read_started(uid) or read_wanted_notes(uid)
    }
    units = system_states([ROUTER_UNIT, *map(user_manager, found)])
    models: list[ModelStatus] = []
    unseen: list[str] = []
    unanswered: list[str] = []
    for uid, texts in found.items():
        is_up = units[user_manager(uid)].active == "active"
        if not is_up:
            models += map(_without_manager, entries({**_missing(uid, texts), **texts}))
        elif acts_as(uid):
            storage = read_storage(account_of(uid))
            models += _user_models(uid, texts, storage)
            unanswered += [storage.unanswered] if storage.unanswered else []
        else:
            models += map(_unseen, entries(texts))
            unseen.append(f"how the models of user {uid} are")
    boot: list[Finding] = []
    router = files.read(ROUTER_CONFIG) if is_root() else None
    if is_root():
        boot = [problem for uid, texts in found.items() if texts for problem in _boot(uid)]
        if router is not None:
            routed = route_names(router)
            boot += router_boot_findings(has_models=any(found.values()))
            models = [replace(model, unrouted=model.model not in routed) for model in models]
    else:
        unseen.append("what was applied last")
        if not may_read_journal():
            unseen.append("the journal")
    applying = applying or run_at_work()
    if applying is not None:
        models = [_on_its_way(model) for model in models]
    llmhop = _router(units[ROUTER_UNIT])
    if router is not None:
        foreign = foreign_config(units[ROUTER_UNIT], is_on_its_way=applying is not None)
        llmhop = replace(llmhop, foreign_config=foreign)
    return Status(
        tuple(models),
        llmhop,
        unseen=tuple(unseen),
        boot=tuple(boot),
        unanswered=tuple(unanswered),
        applying=applying,
        cut_off=applying is None and read_unfinished() is not None,
    )


def _on_its_way(model: ModelStatus) -> ModelStatus:
    return replace(model, earlier_unit=False, edited_unit=False, unrouted=False)


def _boot(uid: int) -> Iterator[Finding]:
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        what = f"user {uid}, whose models these are, does not exist on this host; {PROVISION_HINT}"
        yield Finding.at(("vllm", "user"), what)
        return
    yield from model_boot_findings(user, uid)


def _router(state: UnitState) -> RouterStatus:
    return RouterStatus(
        state=state.active,
        up_s=_up(state),
        restarts=state.restarts,
        says=state.status_text if state.active == "active" else "",
        unit=ROUTER_UNIT,
        last_error=why_router(state) if state.active in ("failed", "activating") else None,
    )


def _without_manager(entry: Entry) -> ModelStatus:
    """A model whose user's manager is down, and with it every model of that user."""
    return _judge(entry, UnitState.parse("ActiveState=inactive"), None, "its manager is down")


def _unseen(entry: Entry) -> ModelStatus:
    """A model of a user whose manager this process may not ask."""
    nothing = _judge(entry, UnitState.parse(""), None, None)
    return replace(nothing, state="unknown", restarts=None)


def _user_models(uid: int, texts: Mapping[str, str], storage: Storage) -> Iterator[ModelStatus]:
    account = account_of(uid)
    missing = _missing(uid, texts)
    started = {n: text for n, text in read_started(uid).items() if n not in texts}
    states = UserManager(account).states([*map(service_of, {**texts, **started, **missing})])
    left = {name: text for name, text in started.items() if states[service_of(name)].is_up}
    found = entries({**missing, **texts, **left})
    stalled = UserManager(account).stalled(states)
    wanted, drifted = read_wanted_notes(uid), _drifted(uid, texts)
    of_sources, hiding = read_source_drop_ins(uid), hiding_files(uid, states)
    for entry in found:
        state, container = states[entry.service], storage.containers.get(container_of(entry.name))
        trouble = _trouble(uid, entry, state, storage)
        judged = _judge(entry, state, container, _STALLED if entry.service in stalled else trouble)
        # What is about to start will be by what its manager has read.
        name, is_up = source_of(entry.service), state.is_up and not state.is_to_start
        note = read_note(uid, name, state) if is_up else None
        port = note.port if note is not None else judged.port
        if is_up and container is not None and container.port is not None:
            port = container.port
        asked = wanted.get(name)
        port = port or (asked.port if asked is not None else None)
        is_earlier = is_up and asked is not None and note != asked
        is_there = name in texts and name not in drifted
        is_edited = asked is not None and asked != (entry.note if is_there else None)
        yield replace(
            judged,
            port=port,
            earlier_unit=is_earlier,
            edited_unit=is_edited and not is_earlier,
            hidden_by=hiding.get(entry.service),
            drop_ins=foreign_drop_ins(entry.service, state, of_sources),
        )


def _missing(uid: int, texts: Mapping[str, str]) -> dict[str, str]:
    """The wanted models of a user whose sources are gone, with nothing for the text of each."""
    return {name: "" for name in read_wanted_notes(uid) if name not in texts}


def _drifted(uid: int, texts: Mapping[str, str]) -> frozenset[str]:
    """The sources with another owner or mode than `apply`, which root runs, has given them."""
    return drifted_sources(uid, texts) if is_root() else frozenset()


def _trouble(uid: int, entry: Entry, state: UnitState, storage: Storage) -> str | None:
    """What is wrong with a model, as far as it can be told."""
    if unmask := how_to_unmask(uid, entry.service, state):
        return f"its unit is masked, so nothing can start it; unmask it by {unmask}"
    if outcome(state) in (Outcome.HEALTHY, Outcome.STARTING):
        is_up = outcome(state) is Outcome.HEALTHY
        if told := storage.trouble(container_of(entry.name), is_up=is_up):
            return told
    is_skipped = bool(state.unmet) or state.result == "exec-condition"
    if outcome(state) not in (Outcome.STARTING, Outcome.FAILED) and not is_skipped:
        return None
    if entry.image.startswith("localhost/") and storage.lacks(entry.image):
        return (
            f"{entry.image} is not in its user's storage, and localhost/ is no registry to pull "
            "it from; build, load or import it as that user"
        )
    cause = why(UserManager(account_of(uid)), entry.service, state)
    return str(cause) if cause else None


def _judge(
    entry: Entry, state: UnitState, container: Container | None, error: str | None
) -> ModelStatus:
    return ModelStatus(
        model=entry.name,
        state=_word(state, container),
        up_s=_up(state),
        restarts=state.restarts,
        port=entry.port or None,
        image=container.image if container else entry.image,
        image_id=container.image_id if container else None,
        image_digest=container.image_digest if container else None,
        devices=entry.devices,
        unit=entry.service,
        last_error=error,
    )


def _word(state: UnitState, container: Container | None) -> str:
    found = outcome(state)
    if found is Outcome.HEALTHY and container is not None and container.state != RUNNING:
        return container.state
    return found.name.lower()


def _up(state: UnitState) -> int | None:
    if state.active != "active":
        return None
    return max(0, int(time.clock_gettime(time.CLOCK_MONOTONIC) - state.active_since_s))


def as_json(found: Status) -> str:
    """Write a status for programs."""
    shown = asdict(found) | {"boot": [each.fields for each in found.boot]}
    return json.dumps(shown, indent=2, ensure_ascii=False)


def as_rows(found: Status) -> list[tuple[str, ...]]:
    """Write a status for people: the head of a table, and a row for each model."""
    return [HEAD, *map(_row, found.models)]


def remarks(found: Status) -> list[str]:
    """Say what stands below the table: why models are not as they should be, and how llmhop is."""
    lines = [] if found.applying is None else [under_way(found.applying)]
    lines += [CUT_OFF] if found.cut_off else []
    lines += [f"{m.model}: {_EARLIER}" for m in found.models if m.earlier_unit]
    lines += [f"{m.model}: {_EDITED}" for m in found.models if m.edited_unit]
    lines += [
        f"{m.model}: its unit is {describe_hiding_file(m.hidden_by)}"
        for m in found.models
        if m.hidden_by
    ]
    changed = [m for m in found.models if m.drop_ins]
    lines += [f"{m.model}: its unit is {describe_drop_ins(m.unit, m.drop_ins)}" for m in changed]
    unrouted = [m for m in found.models if m.unrouted and m.state == Outcome.HEALTHY.name.lower()]
    lines += [f"{m.model}: {_UNROUTED}" for m in unrouted]
    lines += [f"{m.model}: {m.last_error}" for m in found.models if m.last_error]
    lines += [f"At the next boot: {problem.what}" for problem in found.boot]
    lines.append(_router_line(found.llmhop))
    lines += [found.llmhop.foreign_config] if found.llmhop.foreign_config else []
    lines += [f"Not known of images and containers: {why}" for why in found.unanswered]
    if found.unseen:
        lines.append(f"Not shown: {', '.join(found.unseen)}; run it as root")
    return lines


def under_way(pid: int) -> str:
    """Say that a run is at work, of whoever looks meanwhile."""
    return f"An apply is under way (pid {pid}): what is shown may change until it has ended"


def _router_line(router: RouterStatus) -> str:
    up = "" if router.up_s is None else f" for {_duration(router.up_s)}"
    restarts = f", {router.restarts} restarts" if router.restarts else ""
    says = router.last_error or router.says
    return f"llmhop is {router.state}{up}{restarts}{f': {says}' if says else ''}"


def _row(model: ModelStatus) -> tuple[str, ...]:
    return (
        model.model,
        model.state,
        "-" if model.up_s is None else _duration(model.up_s),
        "-" if model.restarts is None else str(model.restarts),
        str(model.port or "-"),
        ",".join(model.devices) or "-",
        model.image or "-",
    )


def _duration(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes % 60}m"
    return f"{minutes}m{seconds % 60}s" if minutes else f"{seconds}s"
