"""What holds for every test, and how several workers share them."""

import signal
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

# Time is no rule of a test: a machine may be busy.
settings.register_profile("llmhop", deadline=None)
settings.load_profile("llmhop")

# Who runs the tests by nohup(1) ignores it, and so would every process that they start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# What takes longest, first: begun last, it would end after all else. What is not named follows.
LONGEST = (
    "tests/host/test_scenarios.py::test_a_failing_model",
    "tests/host/test_switches.py",
    "tests/host/test_kills.py",
    "tests/host/test_nixos_switch.py",
    "tests/host/test_faults.py",
    "tests/host/test_scenarios.py::test_nixos_options",
    "tests/host/test_causes.py",
    "tests/host/test_by_hand.py",
    "tests/host/test_scenarios.py",
    "tests/host/test_plain_host.py",
    "tests/host/",
)
# Each test there has a host of its own; all in the directory have the same one.
APART = ("tests/host/test_scenarios.py", "tests/host/test_plain_host.py")
TOGETHER = "tests/host/checks/"


def rank(nodeid: str) -> int:
    """Where a test stands in the order."""
    return next((i for i, start in enumerate(LONGEST) if nodeid.startswith(start)), len(LONGEST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, which else keep the order in which they were found."""
    items.sort(key=lambda item: rank(item.nodeid))


class Scheduling(LoadFileScheduling):  # type: ignore[misc] # xdist's classes have no types
    """Gives a worker the tests of a file, but where hosts are shared otherwise."""

    def _split_scope(self, nodeid: str) -> str:
        """The name of what one worker takes."""
        if nodeid.startswith(APART):
            return nodeid
        if nodeid.startswith(TOGETHER):
            return TOGETHER
        return str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Use it for ``--dist loadfile``."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None
