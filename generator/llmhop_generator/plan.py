"""What has to happen on a host: a pure function of what is wanted and what is present.

`diff` prints a plan and `apply` carries it out; neither decides anything of its own.
"""

from collections.abc import Iterable, Mapping

from llmhop_generator.routes import route_names, without_routes
from llmhop_generator.sources import image_of, model_of, service_of, unordered
from llmhop_generator.steps import (
    Files,
    Plan,
    Present,
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


def make_plan(wanted: Wanted, present: Present) -> Plan:
    """Plan the steps from what is present to what is wanted; none where all is well.

    What can fail or take long comes first, while everything serves: images, and the
    new files beside the old. A route leaves before its model stops and comes back when
    it is healthy. A changed model is stopped before its source and its digest are
    replaced, so that whenever this ends early, what runs is what the files say, and the
    next run goes on from there. A model that only moved in the start order runs on.
    """
    restart = _restarts(wanted, present)
    stages = list(_stages(wanted, present))
    hidden = _hidden(wanted, present, restart)
    steps: list[Step] = [*_ground(wanted, present), *_pulls(wanted, present, restart), *stages]
    steps += _routes_before(wanted, present, hidden)
    for uid, there in present.sources.items():
        if uid != wanted.uid and there:
            steps += _retire(uid, present)
    if wanted.uid is not None:
        swaps = any(stage.uid == wanted.uid for stage in stages)
        steps += _units(wanted.uid, wanted, present, restart, swaps=swaps)
    if hidden:
        after = (service_of(name) for name in wanted.sources if model_of(name) in hidden)
        steps.append(Route(after=tuple(after)))
    return Plan(wanted, present, tuple(steps))


def _states(uid: int | None, present: Present) -> Mapping[str, str]:
    return {} if uid is None else present.states.get(uid, {})


def _there(wanted: Wanted, present: Present) -> Files:
    return {} if wanted.uid is None else present.sources.get(wanted.uid, {})


def _restarts(wanted: Wanted, present: Present) -> tuple[str, ...]:
    """The sources whose models have to be started, and stopped before where they run."""
    there, states = _there(wanted, present), _states(wanted.uid, present)
    return tuple(
        name
        for name, text in wanted.sources.items()
        if name not in there
        or unordered(there[name]) != unordered(text)
        or _other_environment(name, wanted, present)
        or states.get(service_of(name)) not in ("active", "activating", "reloading")
    )


def _other_environment(name: str, wanted: Wanted, present: Present) -> bool:
    """Whether a model's environment files hold something else than when it was started.

    One of which nothing is recorded was started by an earlier version: it runs on.
    """
    recorded = present.environment.get(name)
    return recorded is not None and recorded != wanted.environment.get(name)


def _ground(wanted: Wanted, present: Present) -> Iterable[Step]:
    if wanted.uid is None:
        return
    if wanted.uid not in present.states:
        yield StartManager(wanted.uid)
    if present.open_files < wanted.open_files and not present.limits_are_fixed:
        yield RaiseLimit(wanted.uid, wanted.open_files)


def _pulls(wanted: Wanted, present: Present, names: Iterable[str]) -> Iterable[Step]:
    if wanted.uid is None:
        return
    for image, policy in dict.fromkeys(image_of(wanted.sources[name]) for name in names):
        there = image in present.images
        # What is called localhost/… was made on this host: no registry has it.
        if not there or (policy == "newer" and not image.startswith("localhost/")):
            yield Pull(wanted.uid, image, optional=there)


def _hidden(wanted: Wanted, present: Present, restart: Iterable[str]) -> tuple[str, ...]:
    """The models whose routes come when they are healthy: those that stop, and new ones.

    One that is merely down keeps the route it has. None is hidden where no other
    route would be left: llmhop does not run without one.
    """
    if wanted.router is None or wanted.uid is None:
        return ()
    states, routed = _states(wanted.uid, present), route_names(present.router)
    stopped = _to_stop(wanted.uid, [n for n in restart if n in _there(wanted, present)], present)
    hidden = {model_of(service) for service in stopped}
    for name in wanted.sources:
        if states.get(service_of(name)) != "active" and model_of(name) not in routed:
            hidden.add(model_of(name))
    routes = route_names(wanted.router)
    return tuple(sorted(hidden & routes)) if routes - hidden else ()


def _routes_before(wanted: Wanted, present: Present, hidden: tuple[str, ...]) -> Iterable[Step]:
    if wanted.router is None:
        if present.router is not None:
            yield StopRouter()
    elif without_routes(wanted.router, hidden) != present.router or not present.router_runs:
        yield Route(hidden)


def _stages(wanted: Wanted, present: Present) -> Iterable[Stage]:
    for uid, there in present.sources.items():
        if uid != wanted.uid and there:
            yield Stage(uid, delete=tuple(there))
    if wanted.uid is None:
        return
    there = _there(wanted, present)
    stale = tuple(name for name in there if name not in wanted.sources)
    write = {name: text for name, text in wanted.sources.items() if there.get(name) != text}
    if stale or write or present.environment != wanted.environment:
        yield Stage(wanted.uid, stale, write, wanted.environment)


def _retire(uid: int, present: Present) -> Iterable[Step]:
    """Stop and remove the units of a user that serves no longer."""
    if stop := _to_stop(uid, present.sources[uid], present):
        yield Stop(uid, stop)
    yield Swap(uid)
    if uid in present.states:
        yield Reload(uid)


def _to_stop(uid: int, names: Iterable[str], present: Present) -> tuple[str, ...]:
    """The services of some sources that are not plainly inactive, the last started first."""
    states = _states(uid, present)
    services = [service_of(name) for name in names]
    return tuple(s for s in reversed(services) if states.get(s, "inactive") != "inactive")


def _units(
    uid: int, wanted: Wanted, present: Present, restart: tuple[str, ...], *, swaps: bool
) -> Iterable[Step]:
    there = _there(wanted, present)
    stale = [name for name in there if name not in wanted.sources]
    if stop := _to_stop(uid, [*stale, *(name for name in restart if name in there)], present):
        yield Stop(uid, stop)
    if swaps:
        yield Swap(uid)
    # Also where no source changed: a run that was ended early may have left it out.
    if swaps or restart or uid in present.outdated:
        yield Reload(uid)
    if restart:
        yield Start(uid, tuple(map(service_of, restart)))
