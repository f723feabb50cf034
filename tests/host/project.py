"""The project's own two packages, built from the working tree and installed on a host."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from tests.host.build import pip
from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.root import VENV

REPOSITORY = Path(__file__).parents[2]
PROJECTS = (REPOSITORY / "generator", REPOSITORY / "router")
COMMANDS = ("llmhop", "llmhop-generator")

# What scenarios need inside a host besides the projects' own dependencies.
CLIENTS = ("openai",)


def dependencies(projects: tuple[Path, ...] = PROJECTS) -> list[str]:
    """What the projects' pyproject.toml files depend on at run time, and the clients."""
    found = set(CLIENTS)
    for project in projects:
        with (project / "pyproject.toml").open("rb") as file:
            found.update(tomllib.load(file)["project"].get("dependencies", []))
    return sorted(found)


def wheels(cache: Cache, projects: tuple[Path, ...] = PROJECTS) -> Path:
    """A directory with one wheel of each project, as its sources are now."""

    def make(target: Path) -> None:
        for project in projects:
            # A copy, so that no build leaves files in the source tree.
            copy = target / "source" / project.name
            shutil.copytree(project, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            # Plain Python: the Python of a host is another one.
            pip("wheel", "--quiet", "--no-deps", "--wheel-dir", target, copy, LLMHOP_COMPILE="0")
        shutil.rmtree(target / "source")

    return cache.artefact("wheels", projects, make)


def install(machine: Machine, directory: Path) -> None:
    """Install the wheels in `directory` on a running machine, commands in /usr/local/bin."""
    machine.copy_from_host(str(directory), "/run/wheels")
    machine.succeed(f"{VENV}/bin/pip install --quiet --no-index --no-deps /run/wheels/*.whl")
    for command in COMMANDS:
        machine.succeed(f"ln -sfn {VENV}/bin/{command} /usr/local/bin/{command}")
    machine.succeed("rm -r /run/wheels")
