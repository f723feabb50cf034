"""What has to happen on a host: a pure function of what is wanted and what is present.

`diff` prints a plan and `apply` carries it out; neither decides anything of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from llmhop_generator.planning.batches import Restarts, plan_restarts, reached_at, wanted_ports
from llmhop_generator.planning.steps import (
    Ask,
    Await,
    Batch,
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
from llmhop_generator.render.provenance import Command
from llmhop_generator.render.start_note import note_of
from llmhop_generator.render.unit_reader import image_of, started_with, with_order
from llmhop_generator.router.routes import Routing, route_names
from llmhop_generator.unit_names import model_of, service_of, source_of


def make_plan(wanted: Wanted, present: Present, *, wait: bool = True) -> Plan:
    """Plan the steps from what is present to what is wanted; none where all is well.

    What can fail or take long comes first, while everything serves: images, and the
    new files beside the old. What is removed, or holds a port that another model is to
    have, stops before units are swapped in. A model that runs by another unit than its own
    is replaced in a batch, and its unit on disk is the one that it runs by until then. What
    is down is started last. Whenever this ends early, the notes that units leave tell the
    next run what is still to be replaced. A model that only moved in the start order runs on.

    Without `wait` all that is replaced stops before any of it starts, and llmhop has every
    route before that: nobody will be there to add one.

    A user's manager that is down is started first, and the rest of the plan begins with what
    that starts: `present` of the plan is the host as it is then.
    """
    ground = list(_ground(wanted, present))
    present = _with_manager(wanted.uid, present)
    restarts = plan_restarts(wanted, present, wait=wait)
    begin = _begin(wanted, present, restarts)
    stages = list(_stages(wanted, present, restarts))
    steps: list[Step] = [*ground, *_pulls(wanted, present, restarts)]
    steps += [*_asks(wanted, present), *stages]
    if wanted.router is None and present.router is not None:
        steps.append(StopRouter())
    steps += _first_route(wanted, present, begin)
    for uid in present.sources:
        if uid != wanted.uid:
            steps += _retire(uid, present)
    if wanted.uid is not None:
        swaps = any(stage.uid == wanted.uid for stage in stages)
        steps += _units(wanted.uid, wanted, present, restarts, swaps=swaps)
        waiting = set(restarts.running) - set(restarts.at_once)
        routing = begin.move(_ports(wanted, [n for n in wanted.sources if n not in waiting]))
        if not wait:
            routing = routing.show(map(model_of, wanted.sources))
        steps += _route(wanted, begin, routing)
        steps += _starts(wanted.uid, wanted, present, restarts, routing, wait=wait)
    return Plan(wanted, present, tuple(steps), begin)


def _states(uid: int | None, present: Present) -> Mapping[str, str]:
    return {} if uid is None else present.states.get(uid, {})


def _ports(wanted: Wanted, names: Iterable[str]) -> dict[str, int]:
    """The ports that models will have by their wanted units, by the models' names."""
    ports = wanted_ports(wanted)
    return {model_of(name): ports[name] for name in names if name in ports}


def _begin(wanted: Wanted, present: Present, restarts: Restarts) -> Routing:
    """The routes with which everything begins.

    A model's route leaves before it stops or its unit moves to another port, and comes, as
    that of a new one, when it is healthy. One that is merely down keeps the route it has.
    """
    shown, states = route_names(present.router), _states(wanted.uid, present)
    ports = {model_of(name): port for name, port in reached_at(wanted, present).items()}
    will = _ports(wanted, wanted.sources)
    hidden = set(map(model_of, restarts.at_once))
    for name in wanted.sources:
        model, state = model_of(name), states.get(service_of(name))
        is_new = state != "active" and model not in shown
        if is_new or (name not in restarts.running and ports.get(model) != will.get(model)):
            hidden.add(model)
    return Routing(ports, frozenset(hidden))


def _first_route(wanted: Wanted, present: Present, begin: Routing) -> list[Route]:
    if wanted.router is None:
        return []
    if begin.config(wanted.router) == present.router and present.router_runs:
        return []
    then, now = route_names(present.router), begin.routes(wanted.router)
    return [Route(begin, tuple(sorted(then - now)), tuple(sorted(now - then)))]


def _route(wanted: Wanted, before: Routing, after: Routing) -> list[Route]:
    """The step from some routes to others, where it is one."""
    router = wanted.router
    if router is None or before.config(router) == after.config(router):
        return []
    then, now = before.routes(router), after.routes(router)
    moved = {m for m in then & now if before.ports.get(m) != after.ports.get(m)}
    return [Route(after, *(tuple(sorted(each)) for each in (then - now, now - then, moved)))]


def _ground(wanted: Wanted, present: Present) -> Iterable[Step]:
    if wanted.uid is None:
        return
    if wanted.uid not in present.states:
        services = _started_by_manager(wanted.uid, present)
        yield StartManager(wanted.uid, services, afresh=present.lost_containers)
    if present.open_files < wanted.open_files and not present.limits_are_fixed:
        yield RaiseLimit(wanted.uid, wanted.open_files)


def _started_by_manager(uid: int, present: Present) -> tuple[str, ...]:
    """What a user's manager starts as it starts itself: each unit that it can read."""
    drifted = present.drifted.get(uid, frozenset())
    return tuple(service_of(n) for n in present.sources_of(uid) if n not in drifted)


def _with_manager(uid: int | None, present: Present) -> Present:
    """A host as it is once the manager of a user runs, which may be down."""
    if uid is None or uid in present.states:
        return present
    started = _started_by_manager(uid, present)
    notes = {name: note_of(present.sources_of(uid)[name]) for name in map(source_of, started)}
    return replace(
        present,
        states={**present.states, uid: dict.fromkeys(started, "activating")},
        notes={name: note for name, note in notes.items() if note is not None},
    )


def _pulls(wanted: Wanted, present: Present, restarts: Restarts) -> Iterable[Step]:
    if wanted.uid is None:
        return
    texts = [wanted.sources[name] for name in wanted.sources if name in set(restarts.to_start)]
    for image, policy in dict.fromkeys(map(image_of, texts)):
        # What is called localhost/… was made on this host: no registry has it.
        is_local, is_renewed = image.startswith("localhost/"), policy == "newer"
        if present.images is None:
            if not is_local:
                yield Pull(wanted.uid, image, optional=is_renewed, known=False)
        elif image not in present.images or (is_renewed and not is_local):
            yield Pull(wanted.uid, image, optional=image in present.images)


def _asks(wanted: Wanted, present: Present) -> Iterable[Ask]:
    """While everything serves: of models that are new, or will be started in another way."""
    if wanted.uid is None:
        return
    there = present.sources_of(wanted.uid)
    by_image: dict[str, dict[str, Command]] = {}
    for name, command in wanted.commands.items():
        text = wanted.sources[name]
        changed = name not in there or started_with(there[name]) != started_with(text)
        if command.flags and changed:
            by_image.setdefault(image_of(text)[0], {})[name] = command
    if by_image:
        yield Ask(wanted.uid, by_image)


def _stages(wanted: Wanted, present: Present, restarts: Restarts) -> Iterable[Stage]:
    """What is written before anything stops: all but the units of models that wait for a batch."""
    for uid, there in present.sources.items():
        if uid != wanted.uid and there:
            yield Stage(uid, delete=tuple(there))
    if wanted.uid is None:
        return
    there = present.sources_of(wanted.uid)
    stale = tuple(name for name in there if name not in wanted.sources)
    # Of those only the order changes, or it could run in a circle with that of the others.
    texts = {
        name: with_order(there[name], text) if name in restarts.kept else text
        for name, text in wanted.sources.items()
    }
    drifted = present.drifted.get(wanted.uid, frozenset())
    write = {n: text for n, text in texts.items() if there.get(n) != text or n in drifted}
    if stale or write:
        yield Stage(wanted.uid, stale, write)


def _retire(uid: int, present: Present) -> Iterable[Step]:
    """Stop and remove the units of a user that serves no longer, or has no units any more."""
    there = present.sources[uid]
    stop = _to_stop(uid, _removed(uid, (), present), present)
    if stop:
        yield Stop(uid, stop)
    if there:
        yield Swap(uid)
    if uid in present.states and (there or stop):
        yield Reload(uid)


def _removed(uid: int, wanted: Iterable[str], present: Present) -> list[str]:
    """The sources that are not wanted any more, and those of which only the service is left."""
    there = present.sources_of(uid)
    left = [name for name in map(source_of, _states(uid, present)) if name not in there]
    return [name for name in (*there, *left) if name not in set(wanted)]


def _to_stop(uid: int, names: Iterable[str], present: Present) -> tuple[str, ...]:
    """The services of some sources that are not plainly inactive, the last started first."""
    states = _states(uid, present)
    services = [service_of(name) for name in names]
    return tuple(s for s in reversed(services) if states.get(s, "inactive") != "inactive")


def _units(
    uid: int, wanted: Wanted, present: Present, restarts: Restarts, *, swaps: bool
) -> Iterable[Step]:
    if stop := _to_stop(uid, [*_removed(uid, wanted.sources, present), *restarts.at_once], present):
        yield Stop(uid, stop)
    if swaps:
        yield Swap(uid)
    # Also where no source changed: a run that was ended early may have left it out.
    if swaps or set(restarts.to_start) - set(restarts.kept) or uid in present.outdated:
        yield Reload(uid)


def _starts(
    uid: int, wanted: Wanted, present: Present, restarts: Restarts, routing: Routing, *, wait: bool
) -> Iterable[Step]:
    if restarts.batches and restarts.starting:
        # Or one that stops now would change the free memory that they measure.
        step, routing = _wait(uid, wanted, restarts.starting, routing)
        yield step
    for each in restarts.batches:
        batch, routing = _batch(uid, wanted, present, restarts, each, routing)
        yield batch
    if restarts.last:
        yield Start(uid, tuple(map(service_of, restarts.last)))
    if not wait:
        return
    shown = routing.routes(wanted.router) if wanted.router is not None else frozenset()
    starting = restarts.starting if wanted.router is not None else ()
    missing = [name for name in starting if model_of(name) not in shown]
    if names := [*missing, *restarts.last]:
        yield _wait(uid, wanted, names, routing)[0]


def _batch(
    uid: int,
    wanted: Wanted,
    present: Present,
    restarts: Restarts,
    names: tuple[str, ...],
    routing: Routing,
) -> tuple[Batch, Routing]:
    """Replace some models, and say which routes there are then."""
    there, services = present.sources_of(wanted.uid), tuple(map(service_of, names))
    stop = [name for name in names if name in restarts.running and name not in restarts.at_once]
    write = {n: wanted.sources[n] for n in names if n in restarts.kept}
    write = {name: text for name, text in write.items() if with_order(there[name], text) != text}
    hidden = routing.hide(map(model_of, stop))
    moved = hidden.move(_ports(wanted, names))
    steps: list[Step] = [Stage(uid, write=write)] if write else []
    steps += _route(wanted, routing, hidden)
    if stop:
        steps.append(Stop(uid, tuple(map(service_of, stop))))
    if write:
        steps += [Swap(uid), Reload(uid)]
    steps += _route(wanted, hidden, moved)
    steps.append(Start(uid, services, apart=len(names) > 1))
    step, after = _wait(uid, wanted, names, moved)
    return Batch(services, (*steps, step)), after


def _wait(
    uid: int, wanted: Wanted, names: Sequence[str], routing: Routing
) -> tuple[Await, Routing]:
    """Wait for models, and say which routes there are then."""
    after = routing.show(map(model_of, names))
    come = frozenset[str]()
    if wanted.router is not None:
        come = after.routes(wanted.router) - routing.routes(wanted.router)
    return Await(uid, tuple(map(service_of, names)), tuple(sorted(come))), after
