"""The rooms and who may import whom, as ARCHITECTURE.md draws them."""

import ast
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
        host_user present environment wanted_notes
        lock output
        router_service plan_text fleet_front fleet_report fleet_compare fleet_addresses
        fleet_hosts plan turns cause known_causes tracebacks journal render host_files
        router_units router_config refusals podman files
        verify units quadlet load router_check checks router_settings container_paths flags
        schema privileged_ports contract images unit_keys key_rules listen json_types text
        config_source serve_parser steps cdi subids routes sources start_note layout
        fleet_revision systemd process exits signals messages errors
        """.split()
    ),
    frozenset(
        """
        plan_text fleet_front fleet_report fleet_compare fleet_addresses fleet_hosts
        plan turns cause known_causes tracebacks journal render host_files router_units
        router_config refusals router_settings units quadlet checks container_paths flags schema
        privileged_ports contract images unit_keys key_rules listen json_types text steps
        cdi routes sources start_note layout fleet_revision errors
        """.split()
    ),
)

ROUTER = Package(
    ROOT / "router/llmhop",
    tuple(
        """
        __main__ cli supervisor worker_process worker service server tls_listener listeners
        metrics_page rollout places client_protocol
        client_connection client_state body_intake connection_memo budget connection_limit
        exchange sending downstream readiness
        backends replica resolver remote_gate gate pool recovery probe connecting
        health upstream local_response
        observer ledger request_record access_log metric_store metric_cells usage
        rewrite body_stream routing naming body_model
        form_fields response_reader request_reader multipart chunked large_body
        model_scanner fresh_fields http_head head_cache
        media_type upgrade via fields
        config_file config_parser model_parser config_check config_schema tls config secrets
        urls exposure listen channel messages errors proxy_status notify limits memory
        timer faults log repeats line_writer line_buffer regular_file
        """.split()
    ),
    frozenset(
        """
        rollout places messages remote_gate
        connection_memo budget gate health rewrite body_stream routing naming body_model
        form_fields response_reader request_reader multipart chunked large_body
        model_scanner fresh_fields http_head head_cache
        media_type upgrade via fields config_parser model_parser config_check
        config_schema config urls exposure listen limits errors proxy_status usage metric_cells
        repeats line_buffer
        """.split()
    ),
)

PACKAGES = {package.name: package for package in (GENERATOR, ROUTER)}
MODULES = [(p.name, module) for p in PACKAGES.values() for module in p.order]
PURE = [(p.name, module) for p in PACKAGES.values() for module in sorted(p.pure)]

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
# Paths as values, and secrets.py's error, are no effects.
HARMLESS = {("llmhop_generator", "layout"): {"pathlib"}, ("llmhop", "config_check"): {"secrets"}}


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_its_place(package: str) -> None:
    assert PACKAGES[package].imports.keys() == set(PACKAGES[package].order)


@pytest.mark.parametrize(("package", "module"), MODULES)
def test_imports_point_one_way(package: str, module: str) -> None:
    order = PACKAGES[package].order
    assert PACKAGES[package].own_imports(module) <= set(order[order.index(module) + 1 :])


@pytest.mark.parametrize(("package", "module"), PURE)
def test_pure_modules_have_no_way_to_an_effect(package: str, module: str) -> None:
    allowed = HARMLESS.get((package, module), set())
    assert not (PACKAGES[package].imports[module] & SYSTEM) - allowed
    assert PACKAGES[package].own_imports(module) - allowed <= PACKAGES[package].pure


def test_one_module_of_the_generator_starts_processes() -> None:
    starters = {module for module, names in GENERATOR.imports.items() if "subprocess" in names}
    assert starters == {"process"}


@pytest.mark.parametrize(("package", "other"), [(GENERATOR, ROUTER), (ROUTER, GENERATOR)])
def test_generator_and_router_do_not_import_each_other(package: Package, other: Package) -> None:
    for module, names in package.imports.items():
        assert other.name not in {name.split(".")[0] for name in names}, module


def test_nothing_imports_from_a_test_module() -> None:
    """What tests share stands beside them, so that each of their files can be split or go."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if any(part.startswith("test_") for part in name.split("."))
    }
    assert not found
