"""Fixtures for tests that boot hosts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import dependencies
from tests.host.root import debian_root, missing_prerequisites
from tests.host.shared_machine import PASSED, Share, sharing


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know how a test went."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture(scope="session")
def cache() -> Cache:
    reason = missing_prerequisites()
    if reason is not None:
        pytest.skip(reason)
    return Cache()


@pytest.fixture(scope="session")
def root(cache: Cache) -> Path:
    """The Debian root that every host of this run is a copy of."""
    return debian_root(cache, dependencies())


@pytest.fixture(scope="session")
def scratch(cache: Cache) -> Path:
    """Where hosts keep what they write."""
    return cache.directory / "hosts"


@pytest.fixture
def new_machine(root: Path, scratch: Path, tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    """A function that makes machines, which end with the test."""
    made: list[Machine] = []

    def make(name: str) -> Machine:
        machine = Machine(name, root, scratch, out_dir=tmp_path)
        made.append(machine)
        return machine

    yield make
    for machine in made:
        machine.release()


@pytest.fixture
def machine(new_machine: Callable[[str], Machine]) -> Machine:
    """One running host."""
    machine = new_machine("machine")
    machine.start()
    return machine


@pytest.fixture(scope="module")
def share(root: Path, scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Share]:
    """A function that makes hosts for all cases of a module."""
    yield from sharing(root, scratch, tmp_path_factory.mktemp("shared"))
