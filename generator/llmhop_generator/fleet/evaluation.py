"""Evaluates the hosts of a flake and checks what each configures."""

import json
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from llmhop_generator.errors import GeneratorError
from llmhop_generator.fleet.hosts import Failed, Host, Result, Without, as_file
from llmhop_generator.fleet.nix import Record, host_names, records
from llmhop_generator.fleet.revision import at_revision, directory_of, is_directory, of_repository
from llmhop_generator.host import files
from llmhop_generator.host.process import run
from llmhop_generator.parse.load import parse_config
from llmhop_generator.router.check import Judge


@dataclass(frozen=True)
class Evaluation:
    """How to evaluate, and the judge of llmhop's settings.

    `report` gets lines that stay, `tick` the one that says how far it is.
    """

    workers: int
    max_memory_mib: int
    judge: Judge
    report: Callable[[str], None]
    tick: Callable[[str], None]

    def results(self, flake: str) -> Generator[Result]:
        """Evaluate the hosts of a flake, and give each one's result as soon as it is there.

        Raises:
            GeneratorError: the flake has no hosts, or Nix can't be run.
        """
        begun = time.monotonic()
        self.tick(f"listing the hosts of {flake}")
        names = host_names(flake, self.report)
        if not names:
            raise GeneratorError(f"{flake} has no hosts: its nixosConfigurations is empty")
        limits = (self.workers, self.max_memory_mib)
        done = failed = 0
        self.tick(f"0 of {len(names)} hosts")
        for record in records(flake, names, *limits, self.report):
            result = checked_result(record, self.judge)
            done += 1
            self.tick("")
            if isinstance(result, Failed):
                failed += 1
                self.report(f"{result.name} failed: {result.cause}")
            yield result
            self.tick(f"{done} of {len(names)} hosts, {time.monotonic() - begun:.0f} s")
        self.tick("")
        self.report(f"{done} hosts of {flake} evaluated, {failed} failed")


def write_file(directory: Path, result: Result) -> None:
    """Write a host's contract as NAME.json; without one, remove what an earlier run wrote.

    Raises:
        GeneratorError: the file can't be written, or the host's name can't be a file's.
    """
    if "/" in result.name or "\0" in result.name:
        raise GeneratorError(f"no file can have the name of the host {result.name!r}; rename it")
    path = directory / f"{result.name}.json"
    if isinstance(result, Host):
        files.write(path, as_file(result))
    else:
        files.remove(path)


def earlier(flake: str, revision: str) -> str:
    """Refer to a flake at another revision.

    Raises:
        GeneratorError: the reference has no revisions, or git does not know this one.
    """
    if not is_directory(flake):
        found = at_revision(flake, revision)
        if found is None:
            raise GeneratorError(
                f"{flake} at another revision can't be named; give a directory in a git "
                "repository, github:OWNER/REPOSITORY or git+https://…"
            )
        return found
    git = ["git", "-C", str(Path(directory_of(flake)).absolute()), "rev-parse"]
    top, below = run([*git, "--show-toplevel", "--show-prefix"]).stdout.split("\n")[:2]
    commit = run([*git, "--verify", "--end-of-options", f"{revision}^{{commit}}"]).stdout.strip()
    return of_repository(top, commit, below.rstrip("/"))


def checked_result(record: Record, judge: Judge) -> Result:
    """Check what a host configures, as `validate` does it."""
    if record.value is None:
        return Failed(record.host, record.error or "no message")
    contract = record.value["contract"]
    if contract is None:
        return Without(record.host)
    try:
        config = parse_config(json.dumps(contract).encode(), record.host, judge)
    except GeneratorError as error:
        return Failed(record.host, "\n".join(map(str, error.findings)))
    return Host(record.host, record.value["address"] or record.host, contract, config)
