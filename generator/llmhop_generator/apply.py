"""Brings the host it runs on to the state that a configuration describes."""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from llmhop_generator.contract import Config, Vllm
from llmhop_generator.environment import Record, digests, read_record
from llmhop_generator.errors import GeneratorError
from llmhop_generator.layout import ROUTER_UNIT, quadlet_dir, user_manager
from llmhop_generator.plan import make_plan
from llmhop_generator.plan_text import step_lines
from llmhop_generator.podman import pull, verify_quadlets
from llmhop_generator.preflight import preflight
from llmhop_generator.present import read_present
from llmhop_generator.process import account_of
from llmhop_generator.progress import wait_until_up
from llmhop_generator.render import render
from llmhop_generator.router_service import give_config, router_group, stop_router, write_config
from llmhop_generator.routes import without_routes
from llmhop_generator.sources import model_of, service_of
from llmhop_generator.staging import discard, stage, swap
from llmhop_generator.steps import (
    Plan,
    Pull,
    RaiseLimit,
    Reload,
    Route,
    Stage,
    Start,
    StartManager,
    Step,
    Stop,
    StopRouter,
    Swap,
    Wanted,
)
from llmhop_generator.systemd import UserManager, system, system_states
from llmhop_generator.units import added_option

# What systemd gives a service, for the sake of select(2) (systemd.exec(5)).
_SOFT_OPEN_FILES = 1024

Report = Callable[[str], None]


@dataclass(frozen=True)
class Applied:
    """What was brought about, and the services that are not up at the end."""

    wanted: Wanted
    failed: tuple[str, ...]


def plan_for(config: Config) -> Plan:
    """See that the host is ready for a configuration, and plan the way to it.

    Raises:
        GeneratorError: the host is not ready, or can't be asked. Nothing was changed.
    """
    if isinstance(config.vllm, Vllm):
        preflight(config.vllm)
    return _plan(config)


def _plan(config: Config) -> Plan:
    rendered = render(config)
    vllm = config.vllm if isinstance(config.vllm, Vllm) else None
    key = b""
    if vllm is not None:
        verify_quadlets(rendered.quadlets, partial(added_option, vllm))
        key = read_record(quadlet_dir(vllm.uid)).key
    if rendered.router is not None:
        router_group()
    wanted = Wanted(
        uid=vllm.uid if vllm else None,
        sources=rendered.quadlets,
        router=rendered.router,
        environment=digests(rendered.quadlets, key),
        key=key,
        open_files=vllm.open_files_limit if vllm else 0,
    )
    return make_plan(wanted, read_present(wanted))


def put_files(config: Config, report: Report) -> None:
    """Put units and llmhop's configuration in place before the user's manager starts.

    It then starts the models by the new units, where it would have had to start them by
    the old ones first.

    Raises:
        GeneratorError: the manager runs already, or a file can't be written.
    """
    plan = _plan(config)
    for uid in plan.present.states:
        raise GeneratorError(
            f"{user_manager(uid)} runs already, and nothing was changed; leave --files-only out"
        )
    for step in plan.steps:
        if isinstance(step, Stage | Swap):
            _carry_out(plan, step, report)
    if plan.wanted.router is not None and plan.wanted.router != plan.present.router:
        write_config(plan.wanted.router)
        # It may be up already. Not waited for: it may have to wait for this to end.
        system("--no-block", "try-reload-or-restart", ROUTER_UNIT)


def apply(config: Config, report: Report, tick: Report, *, wait: bool) -> Applied:
    """Carry out the plan for a configuration, and wait until the models are up or will not be.

    Raises:
        GeneratorError: the host is not ready or a step failed. Before the first
            step nothing is changed; after it, running this again goes on.
    """
    plan = plan_for(config)
    if plan.steps and isinstance(plan.steps[0], StartManager):
        # Podman can be asked for its images, and systemd for its units, only then.
        _carry_out(plan, plan.steps[0], report)
        plan = plan_for(config)
    _discard_staged(plan)  # what a run that was killed may have left
    for warning in _warnings(plan):
        report(f"warning: {warning}")
    routes_are_missing = False
    try:
        for step in plan.steps:
            if isinstance(step, Route):
                routes_are_missing = bool(step.hidden or step.after)
            if not (isinstance(step, Route) and step.after):
                _carry_out(plan, step, report)
        failed = _wait(plan, report, tick) if wait else []
    finally:
        _discard_staged(plan)
        # However this ends, llmhop has every route, also at the next boot.
        if routes_are_missing and plan.wanted.router is not None:
            give_config(plan.wanted.router)
    return Applied(plan.wanted, tuple(failed))


def _discard_staged(plan: Plan) -> None:
    for uid in {*plan.present.sources, *plan.present.states}:
        discard(quadlet_dir(uid))


def _wait(plan: Plan, report: Report, tick: Report) -> list[str]:
    """Wait for every model, and give llmhop the missing routes as they become healthy."""
    wanted = plan.wanted
    if wanted.uid is None:
        return []
    last = plan.steps[-1] if plan.steps else None
    missing = set(last.after) if isinstance(last, Route) else set()

    def healthy(service: str) -> None:
        missing.discard(service)
        if service in before and missing and wanted.router is not None:
            give_config(without_routes(wanted.router, [*map(model_of, missing)]))

    before = frozenset(missing)
    services = list(map(service_of, wanted.sources))
    manager = UserManager(account_of(wanted.uid))
    return wait_until_up(manager, services, report, tick, healthy)


def _carry_out(plan: Plan, step: Step, report: Report) -> None:
    for what, target, why in step_lines(plan, step):
        report(f"{what} {target}" + (f": {why}" if why else ""))
    match step:
        case StartManager(uid):
            system("start", user_manager(uid))
        case RaiseLimit(uid, open_files):
            _raise_open_files_limit(uid, open_files)
        case Pull(uid, image, optional):
            _pull(uid, image, report, optional=optional)
        case Stage(uid, delete, write, environment):
            record = Record(plan.wanted.key, environment) if environment else None
            stage(quadlet_dir(uid), delete, write, record.as_text() if record else None)
        case Route(hidden) if plan.wanted.router is not None:
            give_config(without_routes(plan.wanted.router, hidden))
        case StopRouter():
            stop_router()
        case Stop(uid, services):
            _stop(UserManager(account_of(uid)), services)
        case Swap(uid):
            swap(quadlet_dir(uid))
        case Reload(uid):
            UserManager(account_of(uid)).reload()
        case Start(uid, services):
            _start(UserManager(account_of(uid)), services)


def _pull(uid: int, image: str, report: Report, *, optional: bool) -> None:
    if pull(account_of(uid), image):
        return
    if not optional:
        raise GeneratorError(
            f"{image} can't be pulled (see above), and nothing was changed; "
            "see services.llmhop.vllm.image, .tag and the model's own"
        )
    report(f"warning: {image} can't be pulled (see above); the one that is here serves on")


def _stop(manager: UserManager, services: tuple[str, ...]) -> None:
    # One call: systemd stops them in the reverse of their start order.
    manager.stop(services)
    # Or a failed unit would be listed on, also when its source is gone.
    manager.call("reset-failed", *services, check=False)


def _start(manager: UserManager, services: tuple[str, ...]) -> None:
    states = manager.states(services)
    if unknown := [service for service in services if states[service].load != "loaded"]:
        raise GeneratorError(
            f"the user's manager did not load {', '.join(unknown)}; "
            "see that Podman's user generator is installed for user managers"
        )
    manager.start(services)


def _raise_open_files_limit(uid: int, wanted: int) -> None:
    """Lift the running user manager's hard limit to what its units ask for.

    systemd clamps LimitNOFILE= of a user unit to the manager's own hard limit; the
    drop-in that raises it counts only from the manager's next start.
    """
    unit = user_manager(uid)
    pid = system_states([unit])[unit].main_pid
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(_SOFT_OPEN_FILES, wanted), wanted))
    except OSError as error:
        raise GeneratorError(
            f"services.llmhop.vllm.openFilesLimit: the limit of {unit} can't be raised to "
            f"{wanted} ({error.strerror}), and nothing was changed; set a lower one"
        ) from None


def _warnings(plan: Plan) -> list[str]:
    if plan.present.limits_are_fixed and plan.present.open_files < plan.wanted.open_files:
        return [
            f"services.llmhop.vllm.openFilesLimit: the models get {plan.present.open_files}, "
            f"not {plan.wanted.open_files}: root may not raise limits on this host"
        ]
    return []
