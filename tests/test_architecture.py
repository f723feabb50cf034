"""The rooms and who may import whom, as ARCHITECTURE.md draws them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the command down to errors: a module imports only what stands further down.
GENERATOR = [
    "__main__",
    "cli",
    "provision",
    "apply",
    "progress",
    "plan",
    "render",
    "host_files",
    "router_config",
    "preflight",
    "podman",
    "files",
    "units",
    "quadlet",
    "load",
    "checks",
    "flags",
    "schema",
    "contract",
    "listen",
    "text",
    "layout",
    "systemd",
    "process",
    "errors",
]

PURE = {"plan", "render", "host_files", "router_config", "units", "quadlet", "checks", "flags"}
PURE |= {"schema", "contract", "listen", "text", "layout", "errors"}


def modules(package: Path) -> dict[str, ast.Module]:
    return {
        path.stem: ast.parse(path.read_text(encoding="utf-8"))
        for path in package.glob("*.py")
        if path.stem != "__init__"
    }


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(tree: ast.Module, package: str, names: set[str]) -> set[str]:
    prefix = f"{package}."
    return {name[len(prefix) :] for name in imports(tree) if name.startswith(prefix)} & names


def test_every_module_of_the_generator_has_its_place() -> None:
    assert set(modules(ROOT / "generator/llmhop_generator")) == set(GENERATOR)


@pytest.mark.parametrize("name", GENERATOR)
def test_the_generators_imports_point_one_way(name: str) -> None:
    tree = modules(ROOT / "generator/llmhop_generator")[name]
    below = set(GENERATOR[GENERATOR.index(name) + 1 :])
    assert own_imports(tree, "llmhop_generator", set(GENERATOR)) <= below


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_have_no_way_to_an_effect(name: str) -> None:
    tree = modules(ROOT / "generator/llmhop_generator")[name]
    effects = {"os", "subprocess", "shutil", "socket", "tempfile", "llmhop_generator.process"}
    effects |= {"llmhop_generator.files", "llmhop_generator.systemd", "llmhop_generator.podman"}
    assert not effects & set(imports(tree))


def test_one_module_starts_processes() -> None:
    starters = {
        name
        for name, tree in modules(ROOT / "generator/llmhop_generator").items()
        if "subprocess" in set(imports(tree))
    }
    assert starters == {"process"}


@pytest.mark.parametrize(
    ("package", "other"),
    [("generator/llmhop_generator", "llmhop"), ("router/llmhop", "llmhop_generator")],
)
def test_generator_and_router_do_not_import_each_other(package: str, other: str) -> None:
    for name, tree in modules(ROOT / package).items():
        assert not [i for i in imports(tree) if i.split(".")[0] == other], name
