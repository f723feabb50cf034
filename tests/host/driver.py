"""Running a scenario script as NixOS's test driver does.

A scenario is a plain Python source file. It finds these names defined: each machine by its
name (and `machine`, where there is only one), `machines`, `start_all`, `join_all`, `subtest`,
`retry`, `log`, and what `extra` adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.host.log import Log
from tests.host.machine import Machine
from tests.host.units import retry


class Driver:
    """Some machines that end together. Use it as a context manager.

    `scratch` is a directory on a file system that can hold overlays and device nodes; each
    machine has its own directory there until the end.
    """

    def __init__(
        self,
        names: Iterable[str],
        root: Path,
        scratch: Path,
        *,
        out_dir: Path | None = None,
        prepare: Callable[[Machine], None] | None = None,
        log: Log | None = None,
    ) -> None:
        self.log = log or Log()
        self.machines = [
            Machine(name, root, scratch, out_dir=out_dir, log=self.log, prepare=prepare)
            for name in names
        ]

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for machine in self.machines:
            machine.release()

    def start_all(self) -> None:
        """Boot every machine that does not run."""
        for machine in self.machines:
            machine.start()

    def join_all(self) -> None:
        """Wait until every machine has powered off."""
        for machine in self.machines:
            machine.wait_for_shutdown()

    def symbols(self) -> dict[str, Any]:
        """The names that a scenario finds defined."""
        names: dict[str, Any] = {
            "join_all": self.join_all,
            "log": self.log,
            "machines": self.machines,
            "retry": retry,
            "start_all": self.start_all,
            "subtest": self.log.subtest,
        }
        names |= {machine.name.replace("-", "_"): machine for machine in self.machines}
        if len(self.machines) == 1:
            names["machine"] = self.machines[0]
        return names

    def run(self, script: Path, extra: Mapping[str, Any] | None = None) -> None:
        """Run the scenario in the file `script`. What it raises is passed on."""
        code = compile(script.read_text(), str(script), "exec")
        exec(code, self.symbols() | dict(extra or {}))  # noqa: S102 - scripts of this tree
