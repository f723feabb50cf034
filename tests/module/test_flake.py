"""The flake offers the module, the packages and a formatter; its lock fits."""

import json
import re
import tomllib
from typing import Any

import pytest

from tests.module.nix import ROOT, needs_nix, nix_instantiate

ROOMS = ("module", "examples", "generator", "router", "tests", "nixos-tests")
NIX_FILES = [
    ROOT / "flake.nix",
    *sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.nix")),
]

# A flake input is an attribute set; this one has what flake.nix uses of nixpkgs.
OUTPUTS = f"""
  let
    lib = import <nixpkgs/lib>;
    stand-in = import {ROOT}/tests/module/packages.nix {{ inherit lib; }};
    pkgs = stand-in.pkgs // {{ nixfmt-tree = stand-in.derivation "nixfmt-tree"; }};
    flake = import {ROOT}/flake.nix;
    outputs = flake.outputs {{
      self = outputs;
      nixpkgs = {{
        inherit lib;
        legacyPackages = lib.genAttrs lib.systems.flakeExposed (_: pkgs);
      }};
    }};
    names = lib.mapAttrs (_: lib.mapAttrs (_: package: package.name));
  in {{
    nixosModules = lib.mapAttrs (_: toString) outputs.nixosModules;
    kinds = lib.attrNames outputs;
    packages = names outputs.packages;
    formatter = lib.mapAttrs (_: package: package.name) outputs.formatter;
    projects = lib.mapAttrs (_: package: {{
      inherit (package.arguments) version;
      dependencies = map (p: p.name) package.arguments.dependencies;
    }}) outputs.packages.x86_64-linux;
    inputs = lib.mapAttrs (_: input: input.url) flake.inputs;
  }}
"""


@pytest.fixture(scope="module")
def outputs() -> Any:
    """Give the flake's outputs, with packages by name and modules by path."""
    return json.loads(nix_instantiate("--eval", "--strict", "--json", "--expr", OUTPUTS))


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
    assert outputs["kinds"] == ["formatter", "nixosModules", "packages"]
    assert outputs["nixosModules"] == {
        "default": str(ROOT / "module"),
        "vllm": str(ROOT / "module"),
    }


@needs_nix
def test_the_flake_offers_both_packages_and_a_formatter_on_two_systems(outputs: Any) -> None:
    packages = {"default": "llmhop", "llmhop": "llmhop", "llmhop-generator": "llmhop-generator"}
    systems = ("x86_64-linux", "aarch64-linux")

    assert outputs["packages"] == dict.fromkeys(systems, packages)
    assert outputs["formatter"] == dict.fromkeys(systems, "nixfmt-tree")


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
