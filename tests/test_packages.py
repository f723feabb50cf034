"""The packages as each builder makes them: pip from the tree, Nix from the files it is given.

Scenarios on the booted host run all commands of such a wheel. That what Nix builds holds the same
files is what lets them speak for NixOS too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from llmhop_generator.cli.main import main

from tests.generator.conftest import MINIMAL
from tests.generator.support.fleet_flake import write_flake
from tests.module.nix import ROOT, needs_nix, nix_instantiate

PROJECTS = {"generator": "llmhop_generator", "router": "llmhop"}
NIX_PACKAGES = {"generator": "llmhop-generator", "router": "llmhop"}
SUMMARY = ROOT / "tests" / "module" / "flake-summary.nix"
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*")


@dataclass(frozen=True)
class Built:
    """A wheel, and the directory that it was installed to."""

    wheel: Path
    site: Path

    def files(self) -> set[str]:
        """What the wheel holds, without its metadata."""
        with zipfile.ZipFile(self.wheel) as archive:
            names = set(archive.namelist())
        return {name for name in names if not re.search(r"\.(dist-info|data)/", name)}

    def shared_files(self) -> set[str]:
        """What the wheel puts below the directory that it is installed to, `/usr` or a venv."""
        with zipfile.ZipFile(self.wheel) as archive:
            names = [name.partition(".data/data/") for name in archive.namelist()]
        return {path for _, found, path in names if found}

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the generator of this wheel, and of no other."""
        code = (
            f"import sys; sys.path.insert(0, {str(self.site)!r})\n"
            "from llmhop_generator.cli import main as cli\n"
            "assert cli.__file__.startswith(sys.path[0])\n"
            "cli.main(prog_name='llmhop-generator')"
        )
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        )


@pytest.fixture(scope="session", params=["pip", pytest.param("nix", marks=needs_nix)])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory from which a builder builds both projects."""
    target = tmp_path_factory.mktemp(f"source-{request.param}")
    if request.param == "pip":
        for project in PROJECTS:
            shutil.copytree(ROOT / project, target / project, ignore=LEFT_OUT)
        return target
    summary = nix_instantiate("--eval", "--strict", "--json", "--read-write-mode", SUMMARY)
    projects = json.loads(summary)["projects"]
    for project, package in NIX_PACKAGES.items():
        shutil.copytree(Path(projects[package]["source"]) / project, target / project)
    # Nix builds from a copy that can be written to.
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    return target


@pytest.fixture(scope="session")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Build and install the wheel of each project, of plain Python."""
    target = tmp_path_factory.mktemp("built")
    found = {}
    for project in PROJECTS:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
                *("--no-deps", "--no-build-isolation", "--no-index"),
                *("--wheel-dir", target / project, source / project),
            ],
            check=True,
            env=os.environ | {"LLMHOP_COMPILE": "0"},
        )
        (wheel,) = (target / project).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target / "site")
        found[project] = Built(wheel, target / "site")
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write the smallest configuration."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(MINIMAL), encoding="utf-8")
    return path


@pytest.mark.parametrize("project", PROJECTS)
def test_a_package_holds_every_file_of_its_directory(project: str, built: dict[str, Built]) -> None:
    package = PROJECTS[project]
    directory = ROOT / project
    wanted = {
        str(path.relative_to(directory))
        for path in (directory / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shared = {
        str(path.relative_to(directory))
        for path in (directory / "share").rglob("*")
        if path.is_file()
    }

    assert built[project].files() == wanted
    assert built[project].shared_files() == shared
    assert shared


# What a command is given, its exit code, and a piece of what it says. None of these changes
# the machine that the tests run on: what would do so is given a file that is not there.
COMMANDS: dict[str, tuple[list[str], set[int], str]] = {
    "apply": (["{absent}"], {1, 2}, "absent.json"),
    "check": (["{config}"], {0, 1}, ""),
    "diff": (["{config}"], {0, 1, 4}, ""),
    "eval": (["{flake}", "--report"], {0}, "gpu2.site"),
    "logs": (["absent"], {1}, "absent"),
    "provision": (["{config}", "--dry-run"], {0, 1}, ""),
    "render": (["{config}", "--output", "{directory}"], {0}, ""),
    "restore-routes": ([], {0, 1}, ""),
    "schema": ([], {0}, '"$schema"'),
    "status": ([], {0, 1}, ""),
    "validate": (["{config}"], {0}, "qwen2-5-7b"),
}


def test_every_command_is_run() -> None:
    assert set(main.commands) == set(COMMANDS)


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=needs_nix if name == "eval" else ()) for name in COMMANDS]
)
def test_a_command_runs_from_the_package_alone(
    command: str, built: dict[str, Built], config: Path, tmp_path: Path
) -> None:
    arguments, codes, text = COMMANDS[command]
    places = {"absent": "/absent.json", "config": config, "directory": tmp_path / "o"}
    if command == "eval":
        places["flake"] = write_flake(tmp_path / "flake")

    done = built["generator"].run(command, *(a.format_map(places) for a in arguments))

    assert done.returncode in codes, done.stderr
    assert "Traceback" not in done.stderr
    assert text in done.stdout + done.stderr
