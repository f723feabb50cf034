"""A plan for people and for programs."""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from llmhop_generator.layout import runtime_dir, user_manager
from llmhop_generator.planning.steps import (
    Ask,
    Await,
    Batch,
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
)
from llmhop_generator.render.start_note import environment_of, leaves_note, note_of
from llmhop_generator.render.unit_reader import Change, changes
from llmhop_generator.router.routes import restart_keys
from llmhop_generator.unit_names import model_of, source_of

Line = tuple[str, str, str]
"""One line of a plan: what is done, to what, and why or how."""

_ENVIRONMENT = "its environment file changed"
_NOTE = "the line that notes its start"
_LOST = "Podman takes containers for running that are gone"
_METADATA = "its owner or mode"
# By whether it is optional, and whether it is known which images there are.
_PULLED = {
    (False, True): "it is missing",
    (True, True): "if there is a newer one",
    (False, False): "if it is missing",
    (True, False): "if it is missing or there is a newer one",
}
_TEXT = "order, comments or lines that are no keys"


def lines(plan: Plan) -> list[Line]:
    """Spell the steps of a plan, one line for each thing that is touched."""
    return [line for step in plan.steps for line in step_lines(plan, step)]


def step_lines(plan: Plan, step: Step) -> list[Line]:
    """Spell one step of a plan."""
    match step:
        case StartManager(uid, services, afresh):
            what, why = "start", "the user's manager is down"
            if afresh:
                what, why = "restart", f"{_LOST}, so {runtime_dir(uid)} is made anew"
            why += f"; it starts {', '.join(map(model_of, services))}" if services else ""
            return [(what, user_manager(uid), why)]
        case RaiseLimit(uid, open_files):
            return [("limit", user_manager(uid), f"open files to {open_files}")]
        case Pull(_, image, optional, known):
            return [("pull", image, _PULLED[optional, known])]
        case Ask(_, by_image):
            asked = {image: ", ".join(map(model_of, names)) for image, names in by_image.items()}
            return [
                ("ask", i, f"whether its vLLM takes the flags of {m}") for i, m in asked.items()
            ]
        case Route():
            return [("route", "llmhop", _routing(plan, step))]
        case Batch(_, steps):
            return [line for each in steps for line in step_lines(plan, each)]
        case StopRouter():
            return [("stop", "llmhop", "it is not enabled")]
        case Stop(uid, services):
            return [("stop", service, _why(plan, uid, service)) for service in services]
        case Stage(_, delete, write):
            gone: list[Line] = [("delete", name, "") for name in delete]
            return gone + [("write", name, _differences(plan, step, name)) for name in write]
        case Swap(uid):
            return [("swap", f"units of user {uid}", "")]
        case Reload(uid):
            return [("reload", user_manager(uid), "")]
        case Start(_, services):
            return [("start", service, "") for service in services]
        case Await(_, services, routes):
            return [("wait", service, _until(service, routes)) for service in services]


def _flat(steps: Iterable[Step]) -> Iterator[Step]:
    for step in steps:
        yield from step.steps if isinstance(step, Batch) else [step]


def as_json(plan: Plan) -> str:
    """Write a plan for programs."""
    steps: list[dict[str, Any]] = []
    for step in _flat(plan.steps):
        for what, target, why in step_lines(plan, step):
            shown: dict[str, Any] = {"step": what, "target": target, "detail": why or None}
            if isinstance(step, Stage) and what == "write":
                shown["changed"] = [vars(change) for change in _changes(plan, step, target)]
            steps.append(shown)
    return json.dumps({"steps": steps}, indent=2, ensure_ascii=False)


def _routing(plan: Plan, step: Route) -> str:
    gone = [f"without {', '.join(step.gone)}"] if step.gone else []
    come = [f"with {', '.join(step.come)}"] if step.come else []
    moved = [f"{model} at {step.routing.ports[model]}" for model in step.moved]
    told = [*gone, *come, *moved]
    if plan.present.router_runs and step is _first_route(plan):
        router = step.routing.config(plan.wanted.router or "")
        if keys := restart_keys(plan.present.router, router):
            told.append(f"restarted for {', '.join(keys)}")
    return "; ".join(told) or ("new settings" if plan.present.router_runs else "start or reload it")


def _first_route(plan: Plan) -> Route | None:
    return next((step for step in _flat(plan.steps) if isinstance(step, Route)), None)


def _until(service: str, routes: Collection[str]) -> str:
    return "until it is healthy" + ("; then its route" if model_of(service) in routes else "")


def _why(plan: Plan, uid: int, service: str) -> str:
    name = source_of(service)
    if uid != plan.wanted.uid or name not in plan.wanted.sources:
        return "removed"
    if plan.present.states.get(uid, {}).get(service) == "stalled":
        return "its podman was killed while it started"
    there, wanted = plan.present.sources_of(uid).get(name), plan.wanted.sources[name]
    note = plan.present.notes.get(name)
    if note is None and (there is None or leaves_note(there)):
        return "nothing tells by which unit it runs"
    # What counts is what it runs by; only where that is the file do the two files tell why.
    if there is None or note != note_of(there):
        return "it runs by an earlier unit"
    return "changed" if changes(there, wanted) else _unlisted(there, wanted)


def _changes(plan: Plan, step: Stage, name: str) -> list[Change]:
    old = plan.present.sources_of(step.uid).get(name)
    return [] if old is None else changes(old, step.write[name])


def _differences(plan: Plan, step: Stage, name: str) -> str:
    if name not in plan.present.sources_of(step.uid):
        return "new"
    there = plan.present.sources[step.uid][name]
    told = "; ".join(map(_difference, changes(there, step.write[name])))
    return told or _unlisted(there, step.write[name])


def _unlisted(there: str, wanted: str) -> str:
    """What differs between two sources whose keys are the same."""
    if there == wanted:
        return _METADATA
    if not leaves_note(there):
        return _NOTE
    return _TEXT if environment_of(there) == environment_of(wanted) else _ENVIRONMENT


def _difference(change: Change) -> str:
    if change.key == "After":
        return "start order"
    if change.key.startswith("Environment "):
        return change.key
    old, new = " ".join(change.old) or "-", " ".join(change.new) or "-"
    return f"{change.key}: {old} -> {new}"
