"""The flake offers what it should; its packages build from what they are given; its lock fits."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.module.nix import EXAMPLES, ROOT, evaluate_text, needs_nix, nix_instantiate

ROOMS = ("module", "examples", "generator", "router", "nix", "nixos-tests", "tests")
NIX_FILES = [
    ROOT / "flake.nix",
    *sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.nix")),
]

SYSTEMS = ("x86_64-linux", "aarch64-linux")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SUMMARY = ROOT / "tests" / "module" / "flake-summary.nix"


@pytest.fixture(scope="module")
def outputs() -> Any:
    """Give the flake's outputs: packages by name, modules by path, sources in the store."""
    options = ("--eval", "--strict", "--json", "--read-write-mode")
    return json.loads(nix_instantiate(*options, SUMMARY))


@pytest.fixture(scope="module")
def lock() -> Any:
    """Give flake.lock."""
    return json.loads((ROOT / "flake.lock").read_text(encoding="utf-8"))


@needs_nix
@pytest.mark.parametrize("path", NIX_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_nix_file_parses_and_stays_below_150_lines(path: Any) -> None:
    nix_instantiate("--parse", path)

    assert len(path.read_text(encoding="utf-8").splitlines()) < 150


@needs_nix
def test_the_flake_offers_the_module_under_two_names(outputs: Any) -> None:
    assert outputs["nixosModules"] == {
        "default": str(ROOT / "module"),
        "vllm": str(ROOT / "module"),
    }


@needs_nix
def test_the_flake_offers_packages_programs_a_shell_and_a_formatter_on_two_systems(
    outputs: Any,
) -> None:
    programs = {"llmhop": "llmhop", "llmhop-generator": "llmhop-generator"}
    packages = programs | {"default": "llmhop", "docs": "llmhop-docs"}

    assert outputs["packages"] == dict.fromkeys(SYSTEMS, packages)
    assert outputs["formatter"] == dict.fromkeys(SYSTEMS, "nixfmt-tree")
    assert outputs["devShells"] == {key: {"default": "shell"} for key in SYSTEMS}
    assert outputs["overlay"] == programs
    assert outputs["overlaidJudge"].endswith("-other/bin/other")
    for system in SYSTEMS:
        apps = outputs["apps"][system]
        assert {name: app["program"].rsplit("/", 1)[1] for name, app in apps.items()} == programs
        assert {app["type"] for app in apps.values()} == {"app"}


@needs_nix
def test_the_flake_of_the_readme_is_a_whole_host(tmp_path: Path) -> None:
    (flake,) = re.findall(r"^```nix\n(\{.*?^\})\n```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "flake.nix").write_text(flake, encoding="utf-8")
    (tmp_path / "hardware-configuration.nix").write_text("{ }\n", encoding="utf-8")

    shown = evaluate_text(
        f"""
          let
            inherit (import {ROOT}/tests/module/flake.nix) nixpkgs outputs;
            hosts = ((import {tmp_path}/flake.nix).outputs {{
              inherit nixpkgs;
              llmhop = outputs;
            }}).nixosConfigurations;
            inherit (hosts.gpu) config;
          in
          {{
            hosts = builtins.attrNames hosts;
            failures = builtins.filter (a: !a.assertion) config.assertions;
            inherit (config) warnings;
            contract = config.environment.etc."llmhop/contract.json".source.text;
          }}
        """
    )

    assert shown["hosts"] == ["gpu"]
    assert (shown["failures"], shown["warnings"]) == ([], [])
    models = json.loads(shown["contract"])["vllm"]["models"]
    assert models.keys() == {"qwen2-5-7b", "llama-3-8b"}
    assert models["qwen2-5-7b"]["devices"] == ["nvidia.com/gpu=all"]


@needs_nix
def test_nixpkgs_is_the_only_input_so_that_users_lock_nothing_else(outputs: Any) -> None:
    assert outputs["inputs"].keys() == {"nixpkgs"}


@needs_nix
def test_flake_check_builds_packages_examples_machines_and_formats(outputs: Any) -> None:
    machines = {f"nixos-{name}" for name in outputs["nixosTests"]} - {"nixos-two-models-vllm"}
    wanted = {"docs", "examples", "formatting", "llmhop", "llmhop-generator"} | machines

    for system in SYSTEMS:
        assert outputs["checks"][system].keys() == wanted
    for path in EXAMPLES.glob("*.nix"):
        compared = f"-{path.stem}.json)" in outputs["scripts"]["examples"]
        # These need a module of another flake.
        assert compared is not path.stem.startswith("secrets-"), path.stem


@needs_nix
def test_the_shell_has_what_the_tests_install_elsewhere(outputs: Any) -> None:
    lines = (ROOT / "tests" / "requirements.txt").read_text("utf-8").splitlines()
    required = {line.partition("==")[0] for line in lines if "==" in line}
    # PyPI's build of a program that nixpkgs has by its own name.
    required = {name.removeprefix("rust-") for name in required}
    own = {name for project in outputs["projects"].values() for name in project["dependencies"]}

    assert required | own <= set(outputs["shell"])


@needs_nix
@pytest.mark.parametrize("package", ["llmhop", "llmhop-generator"])
def test_the_tests_of_a_package_are_collected_from_its_own_source(
    package: str, outputs: Any, tmp_path: Path
) -> None:
    project = outputs["projects"][package]
    source = tmp_path / "source"
    shutil.copytree(project["source"], source)
    code = source / ("router" if package == "llmhop" else "generator")

    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "--collect-only", "-qq", *project["paths"]],
        cwd=source,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    collected = {line.partition(":")[0] for line in done.stdout.splitlines() if ".py:" in line}
    assert collected == set(project["paths"])
    assert (code / "pyproject.toml").is_file()


@needs_nix
@pytest.mark.parametrize("package", ["llmhop", "llmhop-generator"])
def test_a_package_is_given_what_its_tests_import(package: str, outputs: Any) -> None:
    project = outputs["projects"][package]
    given = {name.replace("-", "_") for name in project["dependencies"] + project["checkInputs"]}
    given |= {"pytest", "llmhop", "llmhop_generator", "tests", "pydantic_core"}
    given |= {"yaml"} if "pyyaml" in given else set()
    third_party = {path.name for path in Path(pytest.__file__).parents[1].iterdir()}

    for path in project["paths"]:
        text = (ROOT / path).read_text(encoding="utf-8")
        imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
        assert imported & third_party <= given, path


@needs_nix
@pytest.mark.parametrize(
    ("package", "directory"), [("llmhop", "router"), ("llmhop-generator", "generator")]
)
def test_a_nix_package_has_the_version_and_dependencies_of_its_python_project(
    package: str, directory: str, outputs: Any
) -> None:
    project = tomllib.loads((ROOT / directory / "pyproject.toml").read_text("utf-8"))["project"]

    required = [re.split(r"[^A-Za-z0-9_-]", text)[0] for text in project["dependencies"]]
    assert outputs["projects"][package]["version"] == project["version"]
    assert sorted(outputs["projects"][package]["dependencies"]) == sorted(required)


@needs_nix
def test_the_lock_has_a_node_for_every_input_of_the_flake(outputs: Any, lock: Any) -> None:
    root = lock["nodes"][lock["root"]]

    assert lock["version"] == 7
    assert root["inputs"].keys() == outputs["inputs"].keys()
    assert lock["nodes"].keys() == {lock["root"], *root["inputs"].values()}
    for name, node in root["inputs"].items():
        original = lock["nodes"][node]["original"]
        url = f"{original['type']}:{original['owner']}/{original['repo']}/{original['ref']}"
        assert url == outputs["inputs"][name]


def test_every_locked_input_is_pinned_by_revision_and_hash(lock: Any) -> None:
    locked = [node["locked"] for name, node in lock["nodes"].items() if name != lock["root"]]

    assert locked
    for node in locked:
        assert re.fullmatch(r"[0-9a-f]{40}", node["rev"])
        assert re.fullmatch(r"sha256-[A-Za-z0-9+/]{43}=", node["narHash"])
        assert isinstance(node["lastModified"], int)
