"""`check` on a booted host: each thing that a host can lack is found, all of them at once.

A case has the host lack one thing and then have it again, so that each can be run alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.host.cache import Cache
from tests.host.checked_host import (
    CONFIG,
    PROVISIONED,
    CheckedHost,
    assert_as_kept,
    config,
    keep_state,
)
from tests.host.machine import Machine
from tests.host.project import install, wheels
from tests.host.setup import write
from tests.host.shared_machine import SharedMachine, sharing


@pytest.fixture(scope="package")
def shared(
    root: Path, scratch: Path, tmp_path_factory: pytest.TempPathFactory, cache: Cache
) -> Iterator[SharedMachine]:
    """The host of all modules here."""

    def prepare(machine: Machine) -> None:
        install(machine, wheels(cache))
        for path in (CONFIG, PROVISIONED):
            write(machine, path, config())
        machine.succeed(f"llmhop-generator provision {PROVISIONED}")
        keep_state(machine)

    for share in sharing(root, scratch, tmp_path_factory.mktemp("checks")):
        yield share("check", prepare)


@pytest.fixture
def host(shared: SharedMachine, request: pytest.FixtureRequest) -> Iterator[CheckedHost]:
    """A host that was provisioned for the configuration above, and is left so."""
    for machine in shared.lend(request.node):
        with ExitStack() as undo:
            yield CheckedHost(machine, undo)
        assert_as_kept(machine)
