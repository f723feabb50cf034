"""Has the generator act on a simulated host, and ends it before an effect of its own."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llmhop_generator import layout
from llmhop_generator.apply import executor as carry_out
from llmhop_generator.apply import fast_path, routes
from llmhop_generator.apply import run as apply
from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import files, podman, process, systemd
from llmhop_generator.host.process import Account, Finished
from llmhop_generator.preflight import boot, notes
from llmhop_generator.preflight import units as host_units
from llmhop_generator.preflight.storage import access
from llmhop_generator.preflight.units import mask_findings
from llmhop_generator.render.tree import Rendered
from llmhop_generator.state import (
    environment,
    foreign_units,
    present,
    router_command,
    router_service,
    search_paths,
    staging,
    unfinished_routes,
    wanted_notes,
)
from llmhop_generator.status import report as status
from llmhop_generator.status import wait
from llmhop_generator.status.cause import Cause

from tests.generator.support.simulated_host import UID, SimulatedHost

_MODULES = (
    *(
        access,
        apply,
        boot,
        carry_out,
        environment,
        files,
        foreign_units,
        host_units,
        podman,
        present,
    ),
    *(wait, router_command, router_service, routes, fast_path, notes, search_paths, staging),
    *(status, systemd, unfinished_routes, wanted_notes),
)


class Killed(BaseException):
    """`apply` was killed: nothing of it runs any more, its `finally` neither."""


def why_again(host: SimulatedHost, service: str) -> Cause | None:
    """What the journal tells of a service that fails in the same way again."""
    return Cause("it is ill") if host.says_why and host.is_ill(service) else None


def reads(command: Sequence[str], **_: Any) -> Finished:
    """What a user may not read of paths, as `access` asks it: what only their owners may."""
    closed = [
        n
        for path, n in zip(command[5::3], command[6::3], strict=True)
        if not Path(path).stat().st_mode & 0o004
    ]
    return Finished(0, "\n".join(closed), "")


def refuse_masked(config: Config, _rendered: Rendered, **_: object) -> None:
    """What is left of the preflight: the rest of it has tests of its own."""
    if isinstance(config.vllm, Vllm) and (found := [*mask_findings(config.vllm)]):
        raise GeneratorError("the host is not ready, and nothing was changed", found)


@contextmanager
def in_place(host: SimulatedHost) -> Iterator[None]:
    """Have the generator act on a simulated host."""
    for directory in (host.quadlet_dir(UID), host.runtime_dir(UID), host.router_config.parent):
        directory.mkdir(parents=True)
        directory.chmod(0o755)

    def interrupted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            host.interrupt(function.__name__)
            return function(*args, **kwargs)

        return wrapped

    write_whole = files.write

    def write(path: Path, *args: Any, **kwargs: Any) -> None:
        try:
            host.interrupt("write")
        except Killed:
            path.with_name(f".{path.name}.unfinish").touch()  # as tempfile names it
            raise
        write_whole(path, *args, **kwargs)

    def sleep(_: float) -> None:
        host.interrupt("sleep")
        host.tick()

    state = host.router_config.parent
    replaced: list[tuple[Any, Any]] = [
        (process.run, host.run),
        (process.follow, host.follow),
        (process.is_root, lambda: True),
        (process.acts_as, lambda _: True),
        (process.account_of, lambda uid: Account(uid, uid)),
        (podman.environment_of, lambda _: {}),
        (layout.quadlet_dir, host.quadlet_dir),
        (layout.QUADLET_USERS, host.root / "etc/containers/systemd/users"),
        (layout.ETC, host.root / "etc"),
        (layout.LINGER, host.root / "linger"),
        (layout.SYSTEM_UNITS, host.root / "etc/systemd/system"),
        (layout.runtime_dir, host.runtime_dir),
        (layout.ROUTER_CONFIG, host.router_config),
        (layout.ROUTER_BEFORE, state / "llmhop.before.json"),
        (layout.ENVIRONMENT_KEY, state / "environment.key"),
        (layout.WANTED_NOTES, state / "wanted.json"),
        (layout.UNFINISHED_ROUTES, state / "unfinished.json"),
        (layout.STAMP, state / "applied.json"),
        (router_service.router_group, os.getgid),
        (staging._SEARCHED, host.root / "etc/containers/systemd"),
        (os.fsync, lambda _: None),
    ]
    effects: list[Callable[..., Any]] = [files.remove, files.discard_unfinished]
    effects += [staging.stage, staging.swap, staging.discard]
    replaced.append((write_whole, write))
    replaced += [(effect, interrupted(effect)) for effect in effects]
    with pytest.MonkeyPatch.context() as patch:
        for module in (*_MODULES, os):
            for name, value in list(vars(module).items()):
                for old, new in replaced:
                    if value is old:
                        patch.setattr(module, name, new)
        patch.setattr(apply, "preflight", refuse_masked)
        patch.setattr(access, "run", reads)
        patch.setattr(apply, "verify_units", lambda *_: None)
        patch.setattr(wait, "why_again", lambda service, _: why_again(host, service))
        patch.setattr(wait, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0))
        yield


@contextmanager
def killed(host: SimulatedHost, before: Callable[[str], bool]) -> Iterator[None]:
    """Kill the generator before the first effect for which `before` says so."""
    is_dead = False

    def kill(effect: str) -> None:
        nonlocal is_dead
        is_dead = is_dead or before(effect)
        if is_dead:
            raise Killed

    host.interrupt = kill
    with pytest.raises(Killed):
        yield
    host.interrupt = lambda _: None


class Mishap:
    """What happens to a run of `apply`, or on the host, before one of the run's effects.

    `before` names the effect, `number` says before the how-manieth of that name.
    """

    def __init__(
        self, host: SimulatedHost, kind: str, before: str, number: int, service: str
    ) -> None:
        self._host, self._kind, self._service = host, kind, service
        self._before, self._left = before, number
        self._dead = False
        self.happened = False

    def __call__(self, effect: str) -> None:
        """Count an effect of the run, which comes next."""
        if self._dead:
            raise Killed
        self._left -= effect == self._before
        if effect != self._before or self._left != 0 or self._kind == "nothing":
            return
        self.happened = True
        unit = self._host.unit(self._service)
        match self._kind:
            case "kill":
                self._dead = True
                raise Killed
            case "end":
                raise SystemExit(143)
            case "fail a stop":
                self._host.stops_fail = True
            case "crash" if unit.up:
                self._host.crash(self._service)
            case "restart" if unit.loaded is not None:
                self._host.restart(self._service)
