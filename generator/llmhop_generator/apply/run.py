"""Brings the host it runs on to the state that a configuration describes."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from llmhop_generator.apply.executor import Executor
from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.process import account_of
from llmhop_generator.host.systemd import UserManager
from llmhop_generator.layout import (
    quadlet_dir,
    user_manager,
)
from llmhop_generator.planning.planner import make_plan
from llmhop_generator.planning.steps import Plan, Stage, StartManager, Swap, Wanted, touched_by
from llmhop_generator.preflight.boot import outdated_notes
from llmhop_generator.preflight.check import preflight
from llmhop_generator.preflight.notes import limit_notes
from llmhop_generator.preflight.verify import verify_units
from llmhop_generator.render.model_unit import added_keys, serve_commands
from llmhop_generator.render.start_note import note_of, with_environment
from llmhop_generator.render.tree import Rendered, render
from llmhop_generator.state.environment import digests, read_key
from llmhop_generator.state.foreign_units import describe_drop_ins
from llmhop_generator.state.present import read_models, read_present
from llmhop_generator.state.router_service import offer_config, router_group
from llmhop_generator.state.staging import discard
from llmhop_generator.state.unfinished_routes import discard_unfinished_routes
from llmhop_generator.status.wait import Watch
from llmhop_generator.unit_names import service_of, source_of

# Of a manager that was killed: only once it runs Podman tells that it has lost its containers.
_STARTS = 2

Report = Callable[[str], None]


@dataclass(frozen=True)
class Applied:
    """The result of a run: the services that are not up at its end, and those it left alone.

    `left` run on by their earlier units, because one that was replaced before them failed.
    `outdated` says that `provision` has something to do, which each run reports.
    """

    wanted: Wanted
    failed: tuple[str, ...]
    left: tuple[str, ...]
    outdated: bool = False


def plan_for(config: Config, *, wait: bool = True, left: str = "nothing was changed") -> Plan:
    """See that the host is ready for a configuration, and plan the way to it.

    `left` says what was changed before, for an error.

    Raises:
        GeneratorError: the host is not ready, or can't be asked.
    """
    rendered = render(config)
    preflight(config, rendered, mends_podman=True, left=left)
    wanted = _wanted(config, rendered)
    return make_plan(wanted, read_present(wanted), wait=wait)


def _wanted(config: Config, rendered: Rendered) -> Wanted:
    """What is rendered, with digests in it of what the environment files hold now."""
    vllm = config.vllm if isinstance(config.vllm, Vllm) else None
    key, sources = b"", rendered.quadlets
    if vllm is not None:
        held = digests(sources, key := read_key())
        sources = {
            name: with_environment(text, held.get(name, "")) for name, text in sources.items()
        }
    if rendered.router is not None:
        router_group()
    return Wanted(
        uid=vllm.uid if vllm else None,
        sources=sources,
        router=rendered.router,
        key=key,
        open_files=vllm.open_files_limit if vllm else 0,
        commands=serve_commands(vllm) if vllm else {},
        added=added_keys(vllm) if vllm else {},
    )


def put_files(config: Config, report: Report) -> None:
    """Put units and llmhop's configuration in place before the user's manager starts.

    It then starts the models by the new units, where it would have had to start them by
    the old ones first. Where it runs already, they are for `apply` to replace.

    Raises:
        GeneratorError: the host can't be asked, or a file can't be written.
    """
    rendered = render(config)
    verify_units(config, rendered.quadlets)
    wanted = _wanted(config, rendered)
    present = read_present(wanted)
    if present.states:
        running = ", ".join(map(user_manager, present.states))
        report(f"{running} runs already, so nothing was changed: that takes a whole apply")
        return
    nothing_runs = {} if wanted.uid is None else {wanted.uid: dict[str, str]()}
    plan = make_plan(wanted, replace(present, states=nothing_runs))
    executor = Executor(plan, report)
    try:
        for step in plan.steps:
            if isinstance(step, Stage | Swap):
                executor.take(step)
    except BaseException as error:
        error.add_note(executor.unfinished())
        raise
    if plan.wanted.router is not None and plan.wanted.router != plan.present.router:
        # It may be up already. Not waited for: it may have to wait for this to end.
        offer_config(plan.wanted.router)
    discard_unfinished_routes()  # llmhop has every route, and all models start by their new units


def apply(config: Config, report: Report, tick: Report, *, wait: bool) -> Applied:
    """Carry out the plan for a configuration, and wait until the models are up or will not be.

    Raises:
        GeneratorError: the host is not ready or a step failed. Before the first
            step nothing is changed; after it, running this again goes on.

    What ends it, also a signal, has a note of what is left.
    """
    plan = plan_for(config, wait=wait)
    was_down = False
    for _ in range(_STARTS):
        if not plan.steps or not isinstance(start := plan.steps[0], StartManager):
            break
        # Podman can be asked for its images, and systemd for its units, only then.
        Executor(plan, report).take(start)
        was_down = True
        done = f"{user_manager(start.uid)} was started; nothing else was changed"
        plan = plan_for(config, wait=wait, left=done)
    _discard_staged(plan)  # what a run that was killed may have left
    outdated = outdated_notes(config)
    for warning in [*outdated, *warnings(plan)]:
        report(f"warning: {warning}")
    watch = None
    if wait and plan.wanted.uid is not None:
        manager = UserManager(account_of(plan.wanted.uid))
        watch = Watch(manager, report, tick, plan.wanted.added, touched=touched_by(plan))
    executor = Executor(plan, report, watch)
    try:
        executor.take_all()
        services = list(map(service_of, plan.wanted.sources))
        failed = watch.until_up(services) if watch else []
        executor.finish()
        if not plan.steps and not failed and not was_down:
            report("nothing to do")
    except BaseException as error:
        error.add_note(executor.unfinished())
        if executor.changed:
            with suppress(GeneratorError):  # what ended the run is told, not what follows from it
                executor.finish()
        raise
    finally:
        _discard_staged(plan)
    left = _not_replaced(plan.wanted, executor.left)
    return Applied(plan.wanted, tuple(failed), left, outdated=bool(outdated))


def _not_replaced(wanted: Wanted, services: Sequence[str]) -> tuple[str, ...]:
    """Those whose batch did not come, but for who crashed meanwhile and came up by the new unit."""
    notes = read_models(wanted).notes if services else {}
    sources = {service: source_of(service) for service in services}
    return tuple(
        s for s, name in sources.items() if notes.get(name) != note_of(wanted.sources[name])
    )


def _discard_staged(plan: Plan) -> None:
    for uid in {*plan.present.sources, *plan.present.states}:
        discard(quadlet_dir(uid))


def warnings(plan: Plan) -> list[str]:
    """What holds of the models beside the configuration, and no step changes."""
    told = [
        f"{service} is {describe_drop_ins(service, paths)}"
        for service, paths in plan.present.drop_ins.items()
    ]
    if plan.present.limits_are_fixed:
        told += limit_notes(plan.wanted.open_files, plan.present.open_files)
    return told
