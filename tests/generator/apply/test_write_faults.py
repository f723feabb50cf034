"""A file system that fails under `apply`, at any of its steps: nothing is lost, the next run mends.

The calls that change files fail in the place of the kernel, once or from then on, as a disk that
is full, that breaks, or that the kernel has made read-only.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from llmhop_generator.apply.fast_path import is_up_to_date, remember
from llmhop_generator.apply.run import Applied, apply, plan_for
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.files import discard_unfinished
from llmhop_generator.layout import STATE_FILES
from llmhop_generator.parse.load import parse_config
from llmhop_generator.planning.plan_text import lines
from llmhop_generator.state import staging

from tests.generator.conftest import MINIMAL
from tests.generator.support.simulated_host import UID, SimulatedHost

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
# What writes, and what a file system that is full or read-only refuses, too.
CALLS = (
    *("mkdir", "open", "chmod", "fchmod", "chown", "fchown", "fdopen", "fsync", "replace"),
    *("unlink", "rmdir"),
)
STEPS = 240
"""More than a run has."""

Config = dict[str, Any]


def configuration(**models: dict[str, Any]) -> bytes:
    served = {
        name: {"model": "m", "port": port, **model}
        for port, (name, model) in enumerate(models.items(), 18001)
    }
    vllm = {**MINIMAL["vllm"], "openFilesLimit": 64, "models": served}
    return json.dumps({**MINIMAL, "vllm": vllm}).encode()


BEFORE = configuration(a={}, b={}, c={})
THEN = configuration(a={"settings": {"seed": 1}}, b={}, d={})


def bring(host: SimulatedHost, data: bytes) -> Applied | None:
    """Do as the command does; None where there is nothing to do."""
    for path in STATE_FILES:
        discard_unfinished(host.router_config.parent, path.name)
    if is_up_to_date(data):
        return None
    done = apply(parse_config(data, "config.json"), lambda _: None, lambda _: None, wait=True)
    assert not done.failed
    remember(data, done.wanted)
    return done


class Disk:
    """Counts the calls that change files, and fails one of them, or all from that one on."""

    def __init__(self, number: int, code: int, *, stays: bool) -> None:
        self.left, self.code, self.stays = number, code, stays

    def call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if function is os_open and not args[1] & (os.O_WRONLY | os.O_RDWR):
                return function(*args, **kwargs)
            self.left -= 1
            if self.left == 0 or (self.left < 0 and self.stays):
                raise OSError(self.code, os.strerror(self.code))
            return function(*args, **kwargs)

        return called


os_open = os.open


@contextmanager
def failing(disk: Disk) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, disk.call(getattr(os, name)))
        patch.setattr(staging, "_exchange", disk.call(staging._exchange))
        yield


@pytest.fixture(params=["exchanged", "file by file"])
def host(simulated: SimulatedHost, request: pytest.FixtureRequest) -> SimulatedHost:
    """A host that serves, whose units are swapped in as one, or one after the other."""
    simulated.images.add("docker.io/vllm/vllm-openai:v0.11.0")
    if request.param == "file by file":
        (simulated.quadlet_dir(UID) / "vllm-a.container.d").mkdir()
    bring(simulated, BEFORE)
    return simulated


# All numbers pass; these are every eleventh, as each takes a third of a second.
@pytest.mark.parametrize("stays", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("number", range(1, STEPS, 11))
def test_wherever_writing_fails_nothing_is_lost_and_the_next_run_mends(
    number: int, stays: bool, host: SimulatedHost
) -> None:
    disk = Disk(number, ERRORS[number % len(ERRORS)], stays=stays)
    before, routes = host.on_disk(), host.routes()
    with failing(disk):
        try:
            bring(host, THEN)
        except GeneratorError as error:
            assert os.strerror(disk.code) in str(error), error
    left = host.on_disk()
    for service in ("vllm-a.service", "vllm-b.service"):
        assert left[service].startswith("# Written by llmhop-generator")
        assert left[service].endswith("WantedBy=llmhop-models.target\n")
    assert left["vllm-b.service"] == before["vllm-b.service"]
    assert json.loads(host.router_config.read_text())["models"]
    assert host.routes().items() & routes.items()
    bring(host, THEN)
    assert host.routes() == {"a": 18001, "b": 18002, "d": 18003}
    assert {s for s, unit in host.units.items() if unit.up} == host.on_disk().keys()
    assert lines(plan_for(parse_config(THEN, "config.json"))) == []
    assert bring(host, THEN) is None
    names = [path.name for path in host.root.rglob(".*")]
    assert not names, names


def test_a_run_has_fewer_steps_than_are_tried(host: SimulatedHost) -> None:
    disk = Disk(10_000, errno.EIO, stays=False)
    with failing(disk):
        bring(host, THEN)
    assert 100 < 10_000 - disk.left < STEPS
