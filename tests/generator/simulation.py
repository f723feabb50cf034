"""Has the generator act on a simulated host, and ends it before an effect of its own."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from llmhop_generator import (
    apply,
    carry_out,
    environment,
    files,
    layout,
    podman,
    present,
    process,
    progress,
    router_service,
    settled,
    staging,
    status,
    systemd,
    wanted_notes,
)
from llmhop_generator.process import Account

from tests.generator.simulated_host import UID, SimulatedHost

_MODULES = (
    *(apply, carry_out, environment, files, podman, present, progress, router_service),
    *(settled, staging, status, systemd, wanted_notes),
)


class Killed(BaseException):
    """`apply` was killed: nothing of it runs any more, its `finally` neither."""


@contextmanager
def in_place(host: SimulatedHost) -> Iterator[None]:
    """Have the generator act on a simulated host."""
    for directory in (host.quadlet_dir(UID), host.runtime_dir(UID), host.router_config.parent):
        directory.mkdir(parents=True)

    def interrupted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            host.interrupt(function.__name__)
            return function(*args, **kwargs)

        return wrapped

    def sleep(_: float) -> None:
        host.interrupt("sleep")
        host.tick()

    state = host.router_config.parent
    replaced: list[tuple[Any, Any]] = [
        (process.run, host.run),
        (process.follow, host.follow),
        (process.account_of, lambda uid: Account(uid, uid)),
        (podman.environment_of, lambda _: {}),
        (layout.quadlet_dir, host.quadlet_dir),
        (layout.QUADLET_USERS, host.root / "etc/containers/systemd/users"),
        (layout.ETC, host.root / "etc"),
        (layout.runtime_dir, host.runtime_dir),
        (layout.ROUTER_CONFIG, host.router_config),
        (layout.ROUTER_BEFORE, state / "llmhop.before.json"),
        (layout.ENVIRONMENT_KEY, state / "environment.key"),
        (layout.WANTED_NOTES, state / "wanted.json"),
        (layout.STAMP, state / "applied.json"),
        (router_service.router_group, os.getgid),
        (staging._SEARCHED, host.root / "etc/containers/systemd"),
        (os.fsync, lambda _: None),
    ]
    effects: list[Callable[..., Any]] = [files.write, files.remove, files.discard_unfinished]
    effects += [staging.stage, staging.swap, staging.discard]
    replaced += [(effect, interrupted(effect)) for effect in effects]
    with pytest.MonkeyPatch.context() as patch:
        for module in (*_MODULES, os):
            for name, value in list(vars(module).items()):
                for old, new in replaced:
                    if value is old:
                        patch.setattr(module, name, new)
        patch.setattr(apply, "preflight", lambda _: None)
        patch.setattr(apply, "verify_units", lambda *_: None)
        patch.setattr(progress, "why_again", lambda s: (host.says_why and host.is_ill(s)) or None)
        patch.setattr(progress, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0))
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
