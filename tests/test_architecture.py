"""The rooms and who may import whom, as ARCHITECTURE.md draws them."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


GENERATOR = ROOT / "generator/llmhop_generator"
ROUTER = ROOT / "router/llmhop"


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


def test_packages_import_what_stands_below_them() -> None:
    """The contracts are in pyproject.toml, under tool.importlinter."""
    command = "from importlinter.cli import lint_imports; exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_module_of_the_generator_starts_processes() -> None:
    starters = {path for path, names in all_imports(GENERATOR).items() if "subprocess" in names}
    assert starters == {"host/process.py"}


@pytest.mark.parametrize(("directory", "other"), [(GENERATOR, ROUTER), (ROUTER, GENERATOR)])
def test_generator_and_router_do_not_import_each_other(directory: Path, other: Path) -> None:
    for module, names in all_imports(directory).items():
        assert other.name not in {name.split(".")[0] for name in names}, module


SMALL = [GENERATOR, ROUTER, ROOT / "tests/generator", ROOT / "tests/router"]
"""Where packages and files are small enough to be read as a whole."""


@pytest.mark.parametrize("directory", SMALL, ids=lambda path: path.parent.name)
def test_a_package_has_twelve_files_at_most(directory: Path) -> None:
    found = Counter(path.parent for path in directory.rglob("*.py"))
    assert found
    assert {path: count for path, count in found.items() if count > 12} == {}


@pytest.mark.parametrize("directory", SMALL, ids=lambda path: path.parent.name)
def test_a_file_has_400_lines_at_most(directory: Path) -> None:
    lines = {path: len(path.read_bytes().splitlines()) for path in directory.rglob("*.py")}
    assert {path: count for path, count in lines.items() if count > 400} == {}


@pytest.mark.parametrize(("title", "package"), [("generator", GENERATOR), ("router", ROUTER)])
def test_every_package_is_in_its_table(title: str, package: Path) -> None:
    """Those of ARCHITECTURE.md, a line for each."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition(f"\nThe {title}:\n\n")[2].partition("\n\n")[0]
    found = re.findall(r"^\| `([a-z/]+)/` \|", table, re.M)
    assert sorted(found) == sorted(
        str(path.parent.relative_to(package))
        for path in package.rglob("__init__.py")
        if path.parent != package
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
