"""Carries out the steps of a plan, one after the other."""

import resource
from collections.abc import Callable

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import files
from llmhop_generator.host.podman import pull
from llmhop_generator.host.process import account_of
from llmhop_generator.host.systemd import UserManager, system, system_states
from llmhop_generator.image.flag_check import require_taken
from llmhop_generator.layout import ROUTER_CONFIG, quadlet_dir, runtime_unit, user_manager
from llmhop_generator.planning.batches import reached_at, wanted_ports
from llmhop_generator.planning.plan_text import step_lines
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
from llmhop_generator.render.start_note import note_of
from llmhop_generator.router.routes import Routing
from llmhop_generator.state.environment import keep_key
from llmhop_generator.state.present import read_models, read_note
from llmhop_generator.state.router_service import give_config, stop_router
from llmhop_generator.state.staging import stage, swap
from llmhop_generator.state.unfinished_routes import (
    Unfinished,
    discard_unfinished_routes,
    keep_unfinished,
    read_unfinished,
)
from llmhop_generator.state.wanted_notes import keep_wanted_notes
from llmhop_generator.status.wait import Watch
from llmhop_generator.unit_names import model_of, service_of, source_of

# What systemd gives a service, for the sake of select(2) (systemd.exec(5)).
_SOFT_OPEN_FILES = 1024

Report = Callable[[str], None]


class Executor:
    """One run through a plan.

    Without a `watch` nothing is waited for. `left` names the services whose batch was skipped,
    because one before it failed. `routing` is what llmhop has now; `changed` says whether it was
    changed.
    """

    def __init__(self, plan: Plan, report: Report, watch: Watch | None = None) -> None:
        self._plan = plan
        self._report = report
        self._watch = watch
        self._failed = False
        self.changed = False
        self._given = plan.present.router if plan.present.router_runs else None
        self.routing = plan.routing
        self.left: list[str] = []
        self._doing = ""
        self._stopped: list[str] = []
        self._starting: list[str] = []
        self._healthy: set[str] = set()

    def take_all(self) -> None:
        """Take every step, but no further batch once a model in one did not come up.

        Raises:
            GeneratorError: a step failed; the next run goes on from there.
        """
        for step in self._plan.steps:
            if isinstance(step, Batch) and self._failed:
                self._leave(step)
            elif isinstance(step, Batch):
                for each in step.steps:
                    self.take(each)
            else:
                self.take(step)

    def _leave(self, batch: Batch) -> None:
        """Pass a batch over, but for models that are down: those have nothing to lose."""
        serving = {s for step in batch.steps if isinstance(step, Stop) for s in step.services}
        self.left += [service for service in batch.services if service in serving]
        down = tuple(service for service in batch.services if service not in serving)
        for step in batch.steps:
            if isinstance(step, Start) and down:
                self.take(Start(step.uid, down))

    def unfinished(self) -> str:
        """Where the run is, and what it would leave if it ended now."""
        if not self.changed:
            return "nothing was changed"
        begun = {*self._stopped, *self._starting}
        batches = [step.services for step in self._plan.steps if isinstance(step, Batch)]
        starting = [s for s in self._starting if s not in self._healthy]
        parts = {
            "stopped and not started again": [s for s in self._stopped if s not in self._starting],
            "started, and systemd goes on with it": starting,
            "not replaced": [s for services in batches for s in services if s not in begun],
        }
        told = [f"{what}: {', '.join(which)}" for what, which in parts.items() if which]
        return "; ".join([f"at the step `{self._doing}`", *told])

    def finish(self) -> None:
        """Give llmhop each route, to where its model is reached now, however the run went.

        Raises:
            GeneratorError: llmhop can't be told.
        """
        keep_wanted_notes(self._plan.wanted)
        router = self._plan.wanted.router
        if router is None:
            if read_unfinished() is not None:
                discard_unfinished_routes()
            return
        reached = reached_at(self._plan.wanted, read_models(self._plan.wanted))
        routing = Routing({model_of(name): port for name, port in reached.items()})
        if routing.config(router) != self._given:
            come = routing.routes(router) - self.routing.routes(router)
            self.take(Route(routing, come=tuple(sorted(come))))
        discard_unfinished_routes()

    def take(self, step: Step) -> None:
        """Take one step, and tell it.

        Raises:
            GeneratorError: it failed.
        """
        for what, target, why in step_lines(self._plan, step):
            self._doing = f"{what} {target}" + (f": {why}" if why else "")
            self._report(self._doing)
        match step:
            case StartManager(uid, _, afresh):
                if afresh:
                    system("stop", user_manager(uid), runtime_unit(uid))
                system("start", user_manager(uid))
            case RaiseLimit(uid, open_files):
                _raise_open_files_limit(uid, open_files)
            case Pull(uid, image, optional):
                self._pull(uid, image, optional=optional)
            case Ask(uid, by_image):
                require_taken(account_of(uid), by_image, self._report)
            case Stage(uid, delete, write):
                if self._plan.wanted.key:
                    keep_key(self._plan.wanted.key)
                stage(quadlet_dir(uid), delete, write)
            case Route(routing):
                self._give(routing)
            case StopRouter():
                self.changed = True
                stop_router()
            case Stop(uid, services):
                self.changed = True
                self._keep_unfinished()
                wanted = map(service_of, self._plan.wanted.sources)
                self._stopped += [service for service in wanted if service in services]
                _stop(UserManager(account_of(uid)), services)
            case Swap(uid):
                self.changed = True
                keep_wanted_notes(self._plan.wanted)
                self._keep_unfinished()
                swap(quadlet_dir(uid))
            case Reload(uid):
                UserManager(account_of(uid)).reload()
            case Start(uid, services, apart):
                self.changed = True
                self._starting += services
                _start(UserManager(account_of(uid)), services, apart=apart)
            case Await():
                self._await(step)

    def _give(self, routing: Routing) -> None:
        self.routing = routing
        router = self._plan.wanted.router
        if router is None or (text := routing.config(router)) == self._given:
            return
        left = read_unfinished()
        self._keep_unfinished(text)
        known = self._given, self.changed
        self._given, self.changed = None, True  # also where this is ended early
        try:
            give_config(text)
        except GeneratorError:
            self._given, self.changed = known
            if not self.changed:  # llmhop has refused all that was to be given
                if left is None:
                    discard_unfinished_routes()
                else:
                    keep_unfinished(left)
            raise
        self._given = text

    def _keep_unfinished(self, *given: str) -> None:
        """Keep what is left to do from here on, where llmhop is about to be `given` a text."""
        wanted, present = self._plan.wanted, files.read(ROUTER_CONFIG)
        if wanted.uid is None:
            return
        given = given if present is None else (present, *given)
        left = Unfinished(given, wanted.router or "", wanted.uid, wanted_ports(wanted))
        keep_unfinished(left)

    def _await(self, step: Await) -> None:
        def healthy(service: str) -> None:
            self._healthy.add(service)
            name, model = source_of(service), model_of(service)
            note = read_note(step.uid, name) or note_of(self._plan.wanted.sources[name])
            at = {model: note.port} if note is not None else {}
            self._give(self.routing.show([model]).move(at))

        if self._watch is not None and self._watch.until_up(step.services, healthy):
            self._failed = True

    def _pull(self, uid: int, image: str, *, optional: bool) -> None:
        if pull(account_of(uid), image):
            return
        if not optional:
            raise GeneratorError(
                f"{image} can't be pulled (see above), and nothing was changed; "
                "see services.llmhop.vllm.image, .tag and the model's own"
            )
        self._report(
            f"warning: {image} can't be pulled (see above); the one that is here serves on"
        )


def _stop(manager: UserManager, services: tuple[str, ...]) -> None:
    # One call: systemd stops them in the reverse of their start order.
    manager.stop(services)
    # Or a failed unit would be listed on, also when its source is gone.
    manager.call("reset-failed", *services, check=False)


def _start(manager: UserManager, services: tuple[str, ...], *, apart: bool) -> None:
    states = manager.states(services)
    if unknown := [service for service in services if states[service].load != "loaded"]:
        raise GeneratorError(
            f"the user's manager did not load {', '.join(unknown)}; "
            "see that Podman's user generator is installed for user managers"
        )
    manager.start(services, apart=apart)


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
