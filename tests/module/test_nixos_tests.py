"""The tests that will boot NixOS: they run the scripts and configurations that run here."""

import ast
import builtins
import json
import re
from typing import Any

import pytest

from tests.module.nix import ROOT, SCENARIOS, needs_nix, nix_instantiate

NIXOS_TESTS = ROOT / "nixos-tests"
# Methods of a machine in nixos/lib/test-driver that our own driver has too.
METHODS = set(
    """
    block copy_from_host copy_from_vm crash execute fail get_unit_info get_unit_property reboot
    require_unit_state shutdown sleep start start_job stop_job succeed systemctl unblock
    wait_for_closed_port wait_for_file wait_for_open_port wait_for_open_unix_socket wait_for_unit
    wait_until_fails wait_until_succeeds
    """.split()
)
GLOBALS = {"machine", "subtest", "start_all", "retry", "log"}
# The others are programs that stand on the host.
SCRIPTS = sorted(path for path in SCENARIOS.glob("*.py") if not path.stem.endswith("_command"))


@pytest.fixture(scope="module")
def tests() -> Any:
    """Give each NixOS test with its machine, evaluated."""
    command = ["--eval", "--strict", "--json", "--read-write-mode", "--attr", "nixosTests"]
    return json.loads(nix_instantiate(*command, ROOT / "tests" / "module" / "flake-summary.nix"))


def named(test: str, key: str) -> list[str]:
    """The names that the file of a test gives for a key."""
    text = (NIXOS_TESTS / f"{test}.nix").read_text(encoding="utf-8")
    found = re.search(rf"^  {key} = ([^;]*);", text, re.MULTILINE)
    return re.findall(r'"([^"]+)"', found[1]) if found else []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_scenario_uses_only_what_nixos_own_driver_has(script: Any) -> None:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    called = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "machine"
    }
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and _stored(node)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    bound |= {
        argument.arg for node in nodes if isinstance(node, ast.arguments) for argument in node.args
    }
    bound |= {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    assert "start" in called
    assert called <= METHODS
    assert names - bound - set(dir(builtins)) <= GLOBALS
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom)]


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


@needs_nix
def test_each_test_has_a_file_of_its_own_and_a_time_limit(tests: Any) -> None:
    parts = {"default", "run", "node", "images"}
    assert tests.keys() == {path.stem for path in NIXOS_TESTS.glob("*.nix")} - parts
    for name, test in tests.items():
        assert test["name"] == f"llmhop-{name}"
        assert 0 < test["globalTimeout"] <= 3600


@needs_nix
def test_each_test_runs_a_script_that_also_runs_on_the_booted_debian_host(tests: Any) -> None:
    runs_here = (ROOT / "tests/host/test_scenarios.py").read_text(encoding="utf-8")
    for name, test in tests.items():
        (script,) = named(name, "script") or [name]
        assert test["testScript"] == (SCENARIOS / f"{script}.py").read_text(encoding="utf-8")
        assert re.search(rf'run_scenario\(\s*"{script}"|name = "{script}"', runs_here), script


@needs_nix
def test_each_machine_has_the_configurations_that_the_debian_host_has(tests: Any) -> None:
    for name, test in tests.items():
        machine = test["nodes"]["machine"]
        found = {key: it["contract"] for key, it in machine["specialisations"].items()}
        wanted = named(name, "configurations")
        if wanted[0] not in found:
            found[wanted[0]] = machine["contract"]
        assert found.keys() == set(wanted), name
        for configuration, contract in found.items():
            committed = (SCENARIOS / f"{configuration}.json").read_text(encoding="utf-8")
            assert json.loads(contract) == json.loads(committed), (name, configuration)


@needs_nix
def test_no_machine_has_a_failing_assertion_or_a_warning(tests: Any) -> None:
    for name, test in tests.items():
        machine = test["nodes"]["machine"]
        for host in (machine, *machine["specialisations"].values()):
            assert (host["failures"], host["warnings"]) == ([], []), name
