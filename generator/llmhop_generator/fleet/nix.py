"""Evaluates the hosts of a flake with nix-eval-jobs, or with `nix eval` where that is missing."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.process import running

JOBS = "nix-eval-jobs"
_FEATURES = ("--extra-experimental-features", "nix-command flakes")
# A cached failure of an earlier evaluation would hide its message.
_NO_CACHE = ("--option", "eval-cache", "false")


@dataclass(frozen=True)
class Record:
    """What Nix says of one host: what fleet.nix reads of it, or an error."""

    host: str
    value: dict[str, Any] | None = None
    error: str | None = None


def host_names(flake: str, said: Callable[[str], None]) -> list[str]:
    """Give the names of a flake's NixOS hosts. `said` gets what Nix prints meanwhile.

    Raises:
        GeneratorError: the flake can't be evaluated, or Nix is missing.
    """
    command = _eval(flake, "builtins.attrNames")
    with running(command, said) as nix:
        output = b"".join(nix.lines())
    if nix.code != 0:
        raise GeneratorError(
            f"the hosts of {flake} can't be listed: nix ended with exit code {nix.code}; "
            "see its message above"
        )
    names: list[str] = json.loads(output)
    return names


def records(
    flake: str,
    hosts: Sequence[str],
    workers: int,
    max_memory_mib: int,
    said: Callable[[str], None],
) -> Iterator[Record]:
    """Evaluate hosts, and give what comes out of each as soon as it is there.

    With nix-eval-jobs `workers` processes do so side by side, each started anew when it
    uses more than `max_memory_mib`. Each of `hosts` comes once, in any order.

    Raises:
        GeneratorError: a program is missing, or wrote what can't be understood.
    """
    if shutil.which(JOBS) is None:
        said(f"{JOBS} is not installed; evaluating host by host with nix eval")
        for host in hosts:
            yield _evaluate_one(flake, host, said)
        return
    left = dict.fromkeys(hosts)
    with running(_jobs(flake, workers, max_memory_mib), said) as jobs:
        for line in jobs.lines():
            if not line.endswith(b"\n"):
                continue  # it was killed in the middle of it
            record = parse_job(line)
            if record.host in left:
                del left[record.host]
                yield record
    for host in left:
        error = f"{JOBS} ended with exit code {jobs.code} before it told of this host"
        yield Record(host, error=error)


def parse_job(line: bytes) -> Record:
    """Read one line of nix-eval-jobs.

    Raises:
        GeneratorError: it is not what nix-eval-jobs 2.31 to 2.33 write.
    """
    try:
        job = json.loads(line)
        (host,) = job["attrPath"]
        if "error" in job:
            return Record(host, error=str(job["error"]))
        value = job["extraValue"]
        value["contract"], value["address"]
    except (ValueError, KeyError, TypeError, RecursionError):
        shown = line[:200].decode("utf-8", errors="replace").rstrip("\n")
        raise GeneratorError(
            f"{JOBS} wrote a line that is not understood: {shown}; it must be 2.31 or newer"
        ) from None
    return Record(host, value)


def _evaluate_one(flake: str, host: str, said: Callable[[str], None]) -> Record:
    messages: list[str] = []

    def heard(line: str) -> None:
        messages.append(line)
        said(f"{host}: {line}")

    command = _eval(flake, f"hosts: ({_expression()}).host hosts.{nix_string(host)}")
    with running(command, heard) as nix:
        output = b"".join(nix.lines())
    if nix.code != 0:
        return Record(host, error="\n".join(messages) or f"nix ended with exit code {nix.code}")
    return Record(host, json.loads(output))


def nix_string(text: str) -> str:
    """Spell a text as a string of the Nix language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def _hosts_of(flake: str) -> str:
    return f"{flake}#nixosConfigurations"


def _eval(flake: str, function: str) -> list[str]:
    return ["nix", *_FEATURES, *_NO_CACHE, "eval", "--json", _hosts_of(flake), "--apply", function]


def _jobs(flake: str, workers: int, max_memory_mib: int) -> list[str]:
    limits = ["--workers", str(workers), "--max-memory-size", str(max_memory_mib)]
    functions = ["--select", f"({_expression()}).select", "--apply", f"({_expression()}).apply"]
    return [JOBS, *_FEATURES, *_NO_CACHE, *limits, *functions, "--flake", _hosts_of(flake)]


def _expression() -> str:
    return Path(__file__).with_name("fleet.nix").read_text(encoding="utf-8")
