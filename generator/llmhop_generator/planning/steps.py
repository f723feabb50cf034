"""What a configuration wants, what a host has, and the steps from one to the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from llmhop_generator.render.provenance import Added, Command
from llmhop_generator.render.start_note import StartNote
from llmhop_generator.router.routes import Routing

Files = Mapping[str, str]
"""Quadlet sources by file name."""


@dataclass(frozen=True)
class Wanted:
    """What a configuration asks for.

    `sources` stand in the order in which the models start. `key` is what the digests of
    environment files in them are made with; `open_files` is a limit. `commands` are what
    vLLM's own parser is to read, and `added` what deployers add to units, by file name.
    """

    uid: int | None = None
    sources: Files = field(default_factory=dict)
    router: str | None = None
    key: bytes = field(default=b"", repr=False)
    open_files: int = 0
    commands: Mapping[str, Command] = field(default_factory=dict)
    added: Mapping[str, tuple[Added, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Present:
    """What a host has.

    `states` are systemd's words for services, by uid, of the managers that run.
    `notes` say, by file name, by what each model of the user that is to serve was started.
    `router_runs` says that llmhop runs by `router`. `drop_ins` are those of somebody else, by
    service.
    `outdated` names the users whose manager has read units that have changed since, or could not
    read one. `drifted` are sources with another owner or mode than they were given, by uid.
    `images` are None where Podman can't be asked as its user's manager is down.
    `lost_containers` says that Podman of the user that is to serve takes containers for running
    that are gone; its manager is then as good as down.
    `open_files` is the hard limit of the manager that is to serve, which nobody can
    raise where `limits_are_fixed`.
    """

    sources: Mapping[int, Files] = field(default_factory=dict)
    states: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    outdated: frozenset[int] = frozenset()
    drifted: Mapping[int, frozenset[str]] = field(default_factory=dict)
    images: frozenset[str] | None = frozenset()
    lost_containers: bool = False
    router: str | None = None
    router_runs: bool = False
    drop_ins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: Mapping[str, StartNote] = field(default_factory=dict)
    open_files: float = inf
    limits_are_fixed: bool = False

    def sources_of(self, uid: int | None) -> Files:
        """The sources of a user, by file name."""
        return {} if uid is None else self.sources.get(uid, {})


@dataclass(frozen=True)
class StartManager:
    """Start the service manager of a user, and with it some services.

    `afresh`: it runs, or its runtime directory is there, and neither is kept.
    """

    uid: int
    services: tuple[str, ...] = ()
    afresh: bool = False


@dataclass(frozen=True)
class RaiseLimit:
    """Raise the hard limit on open files of a user's manager."""

    uid: int
    open_files: int


@dataclass(frozen=True)
class Pull:
    """Pull an image as a user; `optional` where the one that is there serves as well.

    Where it is not `known` which images there are, it is optional if one that is there would be.
    """

    uid: int
    image: str
    optional: bool
    known: bool = True


@dataclass(frozen=True)
class Ask:
    """Ask images of a user whether their vLLM takes the flags of models, by image and file name."""

    uid: int
    commands: Mapping[str, Mapping[str, Command]]


@dataclass(frozen=True)
class Route:
    """Give llmhop its wanted configuration, with the routes as they are now.

    `gone` and `come` are the routes that llmhop loses and gets by this, `moved` those that
    lead to another port.
    """

    routing: Routing
    gone: tuple[str, ...] = ()
    come: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()


@dataclass(frozen=True)
class StopRouter:
    """Stop llmhop and remove its configuration."""


@dataclass(frozen=True)
class Stop:
    """Stop services of a user."""

    uid: int
    services: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """Write a user's next set of sources beside the present one.

    What it neither deletes nor writes stays as it is.
    """

    uid: int
    delete: tuple[str, ...] = ()
    write: Files = field(default_factory=dict)


@dataclass(frozen=True)
class Swap:
    """Put the staged set of sources in the place of the present one."""

    uid: int


@dataclass(frozen=True)
class Reload:
    """Have a user's manager run Podman's generator and load what it made."""

    uid: int


@dataclass(frozen=True)
class Start:
    """Start services of a user, in this order; `apart`: each at once, whatever the order."""

    uid: int
    services: tuple[str, ...]
    apart: bool = False


@dataclass(frozen=True)
class Await:
    """Wait until services of a user are healthy or will not be.

    `routes` are the models that llmhop gets as they become healthy.
    """

    uid: int
    services: tuple[str, ...]
    routes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Replace running models while the others serve: not begun where one before it failed."""

    services: tuple[str, ...]
    steps: tuple["Step", ...]


Step = (
    StartManager
    | RaiseLimit
    | Pull
    | Ask
    | Stage
    | Route
    | StopRouter
    | Stop
    | Swap
    | Reload
    | Start
    | Await
    | Batch
)


@dataclass(frozen=True)
class Plan:
    """The steps from what is present to what is wanted; `routing` is where they begin."""

    wanted: Wanted
    present: Present
    steps: tuple[Step, ...]
    routing: Routing = field(default_factory=Routing)


def touched_by(plan: Plan) -> frozenset[str]:
    """The services that a plan starts or waits for."""
    steps = [each for s in plan.steps for each in (s.steps if isinstance(s, Batch) else (s,))]
    return frozenset(
        service for step in steps if isinstance(step, Start | Await) for service in step.services
    )
