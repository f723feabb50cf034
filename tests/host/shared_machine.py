"""One host for many cases, of which each finds it as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host.machine import Machine

PASSED = pytest.StashKey[bool]()
"""Whether the call of a test passed; set by the hook in conftest.py."""


class SharedMachine:
    """A host that is booted and prepared when the first case asks for it.

    The next case gets another one after a case that failed, so that no case fails for what
    an earlier one left.
    """

    def __init__(self, new: Callable[[], Machine]) -> None:
        """`new` makes a machine that is not started yet."""
        self._new = new
        self._machine: Machine | None = None

    def lend(self, case: pytest.Item, *, spend: bool = False) -> Iterator[Machine]:
        """Give the host to one case, as a fixture does; the last one with `spend`."""
        passed = False
        try:
            if self._machine is None:
                self._machine = self._new()
                self._machine.start()
            yield self._machine
            passed = case.stash.get(PASSED, False)
        finally:  # also where a fixture fails that prepares it or puts it back
            if spend or not passed:
                self.release()

    def release(self) -> None:
        """End the host, if there is one."""
        if self._machine is not None:
            self._machine.release()
            self._machine = None


Share = Callable[[str, Callable[[Machine], None]], SharedMachine]
"""Makes a shared machine of a name and of what prepares it."""


def sharing(root: Path, scratch: Path, out_dir: Path) -> Iterator[Share]:
    """Make shared machines, as a fixture does, and release them at its end."""
    made: list[SharedMachine] = []

    def share(name: str, prepare: Callable[[Machine], None]) -> SharedMachine:
        made.append(
            SharedMachine(lambda: Machine(name, root, scratch, out_dir=out_dir, prepare=prepare))
        )
        return made[-1]

    yield share
    for machine in made:
        machine.release()
