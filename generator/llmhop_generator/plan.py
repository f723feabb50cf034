"""What has to happen on a host: a pure function of what is wanted and what is present.

`diff` prints a plan and `apply` carries it out; neither decides anything of its own.
"""

from collections.abc import Iterable, Mapping

from llmhop_generator.routes import route_names, with_routes
from llmhop_generator.sources import image_of, model_of, service_of, started_with
from llmhop_generator.start_note import note_of
from llmhop_generator.steps import (
    Ask,
    Await,
    Command,
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
    Turn,
    Wanted,
)
from llmhop_generator.turns import Work, port_of, survey


def make_plan(wanted: Wanted, present: Present) -> Plan:
    """Plan the steps from what is present to what is wanted; none where all is well.

    What can fail or take long comes first, while everything serves: images, and the
    new files beside the old. What is removed, or holds a port that another model is to
    have, stops before all units are swapped in. Then the models that run by another unit
    than theirs are replaced in turns, and what is down is started. Whenever this ends
    early, the notes that units leave tell the next run what is still to be replaced. A
    model that only moved in the start order runs on.
    """
    work = survey(wanted, present)
    routing = _Routing(wanted, present, work)
    stages = list(_stages(wanted, present))
    steps: list[Step] = [*_ground(wanted, present), *_pulls(wanted, present, work)]
    steps += [*_asks(wanted, present), *stages]
    if wanted.router is None and present.router is not None:
        steps.append(StopRouter())
    steps += routing.give()
    for uid, there in present.sources.items():
        if uid != wanted.uid and there:
            steps += _retire(uid, present)
    if wanted.uid is not None:
        swaps = any(stage.uid == wanted.uid for stage in stages)
        steps += _units(wanted.uid, wanted, present, work, swaps=swaps)
        steps += _replacements(wanted.uid, work, routing)
        steps += _starts(wanted.uid, work, routing)
    return Plan(wanted, present, tuple(steps))


def _states(uid: int | None, present: Present) -> Mapping[str, str]:
    return {} if uid is None else present.states.get(uid, {})


def _there(wanted: Wanted, present: Present) -> Files:
    return {} if wanted.uid is None else present.sources.get(wanted.uid, {})


class _Routing:
    """llmhop's routes as the steps go: which are hidden, and which lead where a model still runs.

    A model's route leaves before it stops, and comes, as that of a new one, when it is
    healthy. One that is merely down keeps the route it has. None is hidden where no other
    route would be left: llmhop does not run without one.
    """

    def __init__(self, wanted: Wanted, present: Present, work: Work) -> None:
        self._config = wanted.router
        self._present, self._runs = present.router, present.router_runs
        self._shown = route_names(present.router)
        self._all = route_names(wanted.router)
        self._given: tuple[frozenset[str], Mapping[str, int]] | None = None
        states = _states(wanted.uid, present)
        self._hidden = frozenset(
            name
            for name in map(model_of, wanted.sources)
            if states.get(f"vllm-{name}.service") != "active" and name not in self._shown
        ) | set(map(model_of, work.in_the_way))
        self._ports: dict[str, int] = {}
        for name in work.running:
            port, note = port_of(name, present), note_of(wanted.sources[name])
            if port is not None and note is not None and port != note.port:
                self._ports[model_of(name)] = port

    def give(self, without: Iterable[str] = ()) -> list[Route]:
        """The step to the routes as they have to be now, where it is one."""
        if self._config is None:
            return []
        self._hidden |= set(without)
        now = self._effective(), dict(self._ports)
        if self._given is None:
            self._given = now
            if with_routes(self._config, *now) == self._present and self._runs:
                return []
        elif now == self._given:
            return []
        self._given = now
        then = self._all - now[0]
        gone, come = self._shown - then, then - self._shown
        self._shown = then
        return [Route(*now, tuple(sorted(gone)), tuple(sorted(come)))]

    def wait(self, uid: int, names: Iterable[str]) -> Await:
        """The step that waits for models, and then gives them their routes."""
        services, models = tuple(map(service_of, names)), {*map(model_of, names)}
        if self._config is None:
            return Await(uid, services)
        moved = models & self._all & (self._effective() | self._ports.keys())
        self._hidden -= models
        self._ports = {name: port for name, port in self._ports.items() if name not in models}
        now = self._effective(), dict(self._ports)
        if moved:
            self._given, self._shown = now, self._shown | moved
        return Await(uid, services, tuple(sorted(moved)), *now)

    def ports_of(self, names: Iterable[str]) -> tuple[tuple[str, int], ...]:
        """The models that still run at another port than theirs, and that port."""
        models = map(model_of, names)
        return tuple((name, self._ports[name]) for name in models if name in self._ports)

    def hides(self, name: str) -> bool:
        """Whether the route of a model is hidden now."""
        return model_of(name) in self._effective()

    def _effective(self) -> frozenset[str]:
        return self._hidden & self._all if self._all - self._hidden else frozenset()


def _ground(wanted: Wanted, present: Present) -> Iterable[Step]:
    if wanted.uid is None:
        return
    if wanted.uid not in present.states:
        yield StartManager(wanted.uid)
    if present.open_files < wanted.open_files and not present.limits_are_fixed:
        yield RaiseLimit(wanted.uid, wanted.open_files)


def _pulls(wanted: Wanted, present: Present, work: Work) -> Iterable[Step]:
    if wanted.uid is None:
        return
    texts = [wanted.sources[name] for name in wanted.sources if name in set(work.to_start)]
    for image, policy in dict.fromkeys(map(image_of, texts)):
        there = image in present.images
        # What is called localhost/… was made on this host: no registry has it.
        if not there or (policy == "newer" and not image.startswith("localhost/")):
            yield Pull(wanted.uid, image, optional=there)


def _asks(wanted: Wanted, present: Present) -> Iterable[Ask]:
    """While everything serves: of models that are new, or will be started in another way."""
    if wanted.uid is None:
        return
    there = _there(wanted, present)
    by_image: dict[str, dict[str, Command]] = {}
    for name, command in wanted.commands.items():
        text = wanted.sources[name]
        changed = name not in there or started_with(there[name]) != started_with(text)
        if command.flags and changed:
            by_image.setdefault(image_of(text)[0], {})[name] = command
    for image, commands in by_image.items():
        yield Ask(wanted.uid, image, commands)


def _stages(wanted: Wanted, present: Present) -> Iterable[Stage]:
    for uid, there in present.sources.items():
        if uid != wanted.uid and there:
            yield Stage(uid, delete=tuple(there))
    if wanted.uid is None:
        return
    there = _there(wanted, present)
    stale = tuple(name for name in there if name not in wanted.sources)
    write = {name: text for name, text in wanted.sources.items() if there.get(name) != text}
    if stale or write:
        yield Stage(wanted.uid, stale, write)


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
    uid: int, wanted: Wanted, present: Present, work: Work, *, swaps: bool
) -> Iterable[Step]:
    stale = [name for name in _there(wanted, present) if name not in wanted.sources]
    if stop := _to_stop(uid, [*stale, *work.in_the_way], present):
        yield Stop(uid, stop)
    if swaps:
        yield Swap(uid)
    # Also where no source changed: a run that was ended early may have left it out.
    if swaps or work.to_start or uid in present.outdated:
        yield Reload(uid)


def _replacements(uid: int, work: Work, routing: _Routing) -> Iterable[Step]:
    if work.turns and work.starting:
        # Or one that stops now would change the free memory that they measure.
        yield routing.wait(uid, work.starting)
    for turn in work.turns:
        stop = [name for name in turn if name in work.running and name not in work.in_the_way]
        services = tuple(map(service_of, turn))
        ports = routing.ports_of(turn)
        steps: list[Route | Stop | Start | Await] = [*routing.give(map(model_of, stop))]
        if stop:
            steps.append(Stop(uid, tuple(map(service_of, stop))))
        steps += [Start(uid, services, apart=len(turn) > 1), routing.wait(uid, turn)]
        yield Turn(services, tuple(steps), ports)


def _starts(uid: int, work: Work, routing: _Routing) -> Iterable[Step]:
    if work.last:
        yield Start(uid, tuple(map(service_of, work.last)))
    rest = [n for n in work.starting if not work.turns and routing.hides(n)]
    if waiting := [*rest, *work.last]:
        yield routing.wait(uid, waiting)
