"""The rooms and who may import whom, as ARCHITECTURE.md draws them."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Package:
    """A package and its modules, from the command down: a module imports only what is below it.

    `pure` modules reach neither the system nor a module that does.
    """

    directory: Path
    order: tuple[str, ...]
    pure: frozenset[str]

    @property
    def name(self) -> str:
        return self.directory.name

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """What each module imports."""
        return {
            path.stem: set(imported(ast.parse(path.read_text(encoding="utf-8"))))
            for path in self.directory.glob("*.py")
            if path.stem != "__init__"
        }

    def own_imports(self, module: str) -> set[str]:
        prefix = f"{self.name}."
        return {name.removeprefix(prefix) for name in self.imports[module]} & set(self.order)


GENERATOR = Package(
    ROOT / "generator/llmhop_generator",
    tuple(
        """
        __main__ cli fleet_command command_options fleet_run fleet_nix
        provision apply carry_out settled status why terminal progress failures staging
        image_parser preflight
        host_paths host_storage host_devices host_ports host_router host_secrets
        host_user host_units present environment wanted_notes
        lock output
        router_service plan_text fleet_front fleet_report fleet_compare fleet_addresses
        fleet_hosts plan turns cause known_causes tracebacks journal render host_files
        router_units router_config refusals podman files
        verify units quadlet load router_check checks router_settings container_paths flags
        schema privileged_ports contract images unit_keys key_rules listen json_types text
        config_source serve_parser steps provenance cdi subids routes sources start_note layout
        fleet_revision systemd process exits signals messages errors
        """.split()
    ),
    frozenset(
        """
        plan_text fleet_front fleet_report fleet_compare fleet_addresses fleet_hosts
        plan turns cause known_causes tracebacks journal render host_files router_units
        router_config refusals router_settings units quadlet checks container_paths flags schema
        privileged_ports contract images unit_keys key_rules listen json_types text steps provenance
        cdi routes sources start_note layout fleet_revision errors
        """.split()
    ),
)

ROUTER = ROOT / "router/llmhop"

MODULES = GENERATOR.order
PURE = sorted(GENERATOR.pure)

SYSTEM = {
    "asyncio",
    "ctypes",
    "mmap",
    "os",
    "pathlib",
    "select",
    "shutil",
    "signal",
    "socket",
    "subprocess",
}
SYSTEM |= {"tempfile", "threading", "time", "uvloop"}
HARMLESS = {"layout": {"pathlib"}}  # paths as values


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def all_imports(directory: Path) -> dict[str, set[str]]:
    """What each module imports that is anywhere in a directory."""
    return {
        str(path.relative_to(directory)): set(imported(ast.parse(path.read_text(encoding="utf-8"))))
        for path in directory.rglob("*.py")
    }


def test_every_module_has_its_place() -> None:
    assert GENERATOR.imports.keys() == set(GENERATOR.order)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    order = GENERATOR.order
    assert GENERATOR.own_imports(module) <= set(order[order.index(module) + 1 :])


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_have_no_way_to_an_effect(module: str) -> None:
    allowed = HARMLESS.get(module, set())
    assert not (GENERATOR.imports[module] & SYSTEM) - allowed
    assert GENERATOR.own_imports(module) - allowed <= GENERATOR.pure


def test_packages_import_what_stands_below_them() -> None:
    """The contracts are in pyproject.toml, under tool.importlinter."""
    command = "from importlinter.cli import lint_imports; exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_module_of_the_generator_starts_processes() -> None:
    starters = {module for module, names in GENERATOR.imports.items() if "subprocess" in names}
    assert starters == {"process"}


@pytest.mark.parametrize(
    ("directory", "other"), [(GENERATOR.directory, ROUTER), (ROUTER, GENERATOR.directory)]
)
def test_generator_and_router_do_not_import_each_other(directory: Path, other: Path) -> None:
    for module, names in all_imports(directory).items():
        assert other.name not in {name.split(".")[0] for name in names}, module


SMALL = [ROUTER, ROOT / "tests/router"]
"""Where packages and files are small enough to be read as a whole."""


@pytest.mark.parametrize("directory", SMALL, ids=lambda path: path.parent.name)
def test_a_package_has_twelve_files_at_most(directory: Path) -> None:
    found = Counter(path.parent for path in directory.rglob("*.py"))
    assert found
    assert {path: count for path, count in found.items() if count > 12} == {}


def test_every_package_of_the_router_is_in_the_table() -> None:
    """That of ARCHITECTURE.md, a line for each."""
    table = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `([a-z/]+)/` \|", table.partition("\nThe router:\n")[2], re.M)
    assert sorted(found) == sorted(
        str(path.parent.relative_to(ROUTER))
        for path in ROUTER.rglob("__init__.py")
        if path.parent != ROUTER
    )


def test_nothing_imports_from_a_test_module() -> None:
    """What tests share stands beside them, so that each of their files can be split or go."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if any(part.startswith("test_") for part in name.split("."))
    }
    assert not found
