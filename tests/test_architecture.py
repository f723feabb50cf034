"""The directories and import layers, as ARCHITECTURE.md draws them."""

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


PLAN_PAGES = ["ARCHITECTURE.md", "CONTRIBUTING.md"]
PLANS = {name: (ROOT / name).read_text(encoding="utf-8") for name in PLAN_PAGES}


def found_files(path: str) -> list[Path]:
    """The files that a page means by a path: from the root, or from a room that it tells of."""
    return [at / path for at in (ROOT, GENERATOR, ROUTER, ROOT / "module") if (at / path).exists()]


@pytest.mark.parametrize("page", PLAN_PAGES)
def test_every_file_that_a_plan_names_is_there_and_has_what_it_is_named_for(page: str) -> None:
    named = set(re.findall(r"`([\w.{},/-]+/[\w.{},-]*\.(?:py|nix|md|json))`", PLANS[page]))
    assert len(named) > 3
    every = [spelled for path in named for spelled in spellings(path)]
    assert [path for path in every if not found_files(path)] == []
    for name, path in re.findall(r"`(\w+)` (?:in|of) `([\w./-]+\.(?:py|nix))`", PLANS[page]):
        assert any(defines(file, [name]) for file in found_files(path)), f"{name} in {path}"


def test_every_module_and_name_that_the_way_of_the_data_names_is_there() -> None:
    """Those written with dots, such as `apply.fast_path.is_up_to_date`."""
    named = re.findall(r"`([a-z_]+(?:\.\w+)+)`", PLANS["ARCHITECTURE.md"])
    packages = {path.name for at in (GENERATOR, ROUTER) for path in at.iterdir() if path.is_dir()}
    found = {name for name in named if name.partition(".")[0] in packages} - {"host.toml"}
    assert len(found) > 30
    assert {name for name in found if not is_defined(name.split("."))} == set()


def spellings(path: str) -> list[str]:
    """A path with one of {a,b} chosen, in each way."""
    before, brace, rest = path.partition("{")
    inner, _, after = rest.partition("}")
    return [before + one + after for one in inner.split(",")] if brace else [path]


def is_defined(parts: list[str]) -> bool:
    for at in (GENERATOR, ROUTER):
        path = at
        for count, part in enumerate(parts, 1):
            path = path / part
            file = path.with_suffix(".py")
            if file.is_file() and defines(file, parts[count:]):
                return True
    return False


def defines(file: Path, names: list[str]) -> bool:
    text = file.read_text(encoding="utf-8")
    return all(re.search(rf"\b(class|def) {name}\b|^ *{name}\b.* = ", text, re.M) for name in names)


def test_nothing_imports_from_a_test_module() -> None:
    """What tests share stands beside them, so that each of their files can be split or go."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if any(part.startswith("test_") for part in name.split("."))
    }
    assert not found
