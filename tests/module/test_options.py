"""The options that the module declares are the documented ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.module.nix import NixError, evaluate, model, needs_nix, vllm

pytestmark = needs_nix

DOCUMENTED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("options.json").read_text(encoding="utf-8")
)

# What this project adds.
OWN = {
    f"services.llmhop.{name}"
    for name in (
        *("enable", "generatorPackage", "openFirewall", "package"),
        *("settings", "waitUntilHealthy"),
    )
} | {
    f"services.llmhop.vllm.{scope}{name}Config"
    for scope in ("", "models.<name>.")
    for name in ("unit", "service", "container")
}


@pytest.fixture(scope="module")
def declared() -> dict[str, dict[str, Any]]:
    """Give the options as the manual of NixOS would show them."""
    return {option["name"]: option for option in evaluate("options")}


def test_the_module_declares_the_documented_options_and_some_of_its_own(
    declared: dict[str, dict[str, Any]],
) -> None:
    documented = {option["name"] for option in DOCUMENTED}

    assert len(documented) == 31
    # Those below `settings` have types for the module, and are described as llmhop has them.
    settings = {name for name in declared if name.startswith("services.llmhop.settings.")}
    assert declared.keys() - settings == documented | OWN
    assert settings


NIX_TYPES = {
    "string": "string",
    "integer from 0 to 65535": "16 bit unsigned integer; between 0 and 65535 (both inclusive)",
    # How many at most, llmhop says.
    "integer from 1 to 1000000": "positive integer, meaning >0",
    "integer from 1 to 1000000000000": "positive integer, meaning >0",
    "object of objects": "attribute set of (open submodule of (JSON value))",
    "list of strings": "list of string",
    "string or list of strings": "string or list of string",
}
"""The types of the page of settings, as the manual of NixOS has them."""


def test_a_setting_that_the_module_types_is_llmhops_and_of_its_type(
    declared: dict[str, dict[str, Any]],
) -> None:
    prefix = "services.llmhop.settings."
    page = (Path(__file__).parents[2] / "docs/settings.md").read_text(encoding="utf-8")
    entries = re.findall(r"(?ms)^## `(\S+)`$.*?^- Type: ([^,\n]*)", page)
    known = {key: NIX_TYPES.get(kind) for key, kind in entries}
    stated = {
        name.removeprefix(prefix): re.sub(r"^null or (?:\((.*)\)$)?", r"\1", option["type"])
        for name, option in declared.items()
        if name.startswith(prefix)
    }
    assert stated
    assert {key: known.get(key) for key in stated} == stated


@pytest.mark.parametrize("key", ["Qwen/Qwen2.5-7B-Instruct", "llama_3", "-a", ""])
def test_a_key_that_can_not_name_a_unit_is_told_with_the_way_out(key: str) -> None:
    with pytest.raises(NixError) as failure:
        evaluate("failures", vllm(models=model(key, 18001)))
    said = " ".join(str(failure.value).split())
    shown = key if key == "llama_3" else f'"{key}"'
    assert f"services.llmhop.vllm.models.{shown}.name follows the attribute name" in said
    assert "Set it, or change that." in said
    assert f'Clients may still send "{key}"' in said
    named = vllm(models=model(key, 18001, 'name = "x";'))
    assert evaluate("failures", named) == []


@pytest.mark.parametrize("expected", DOCUMENTED, ids=lambda option: option["name"])
def test_an_option_has_its_documented_type_default_and_example(
    expected: dict[str, Any], declared: dict[str, dict[str, Any]]
) -> None:
    option = declared[expected["name"]]

    assert {key: option[key] for key in expected} == expected


def test_every_option_is_described_in_a_sentence(declared: dict[str, dict[str, Any]]) -> None:
    without = [
        name
        for name, option in declared.items()
        if not (option["description"] or "").strip().endswith(".")
    ]

    assert without == []


def test_llmhop_is_on_where_vllm_is_on_and_can_be_turned_off() -> None:
    off = "{ services.llmhop.enable = false; }"

    assert evaluate("config.services.llmhop.enable", vllm()) is True
    assert evaluate("config.services.llmhop.enable", vllm(), off) is False
    assert evaluate("config.services.llmhop.enable") is False


def test_identity_options_follow_one_another() -> None:
    moved = vllm('user = "ai"; subUidCount = 1000;')
    moved = moved.replace("uid = 503", "uid = 600").replace("300000", "700000")
    identity = evaluate("config.services.llmhop.vllm", moved)

    assert identity["group"] == "ai"
    assert identity["gid"] == 600
    assert identity["subGidStart"] == 700000
    assert identity["subGidCount"] == 1000


@pytest.mark.parametrize(
    ("toolkit", "module", "expected"),
    [
        ("true", "{ hardware.nvidia-container-toolkit.enable = true; }", ["nvidia.com/gpu=all"]),
        ("true", "{ hardware.nvidia-container-toolkit.enable = false; }", []),
        ("false", "{ }", []),
    ],
    ids=["enabled", "disabled", "undeclared"],
)
def test_devices_follow_the_nvidia_container_toolkit_where_it_is_declared(
    toolkit: str, module: str, expected: list[str]
) -> None:
    devices = evaluate(
        "config.services.llmhop.vllm.devices", vllm(), module, containerToolkit=toolkit
    )

    assert devices == expected


@pytest.mark.parametrize("option", ["uid", "subUidStart", "tag"])
def test_a_required_option_without_a_value_is_an_error_that_names_it(option: str) -> None:
    without = re.sub(rf"\b{option} = [^;]+;", "", vllm(), count=1)

    # Where the configuration is read first decides between two messages of nixpkgs.
    unset = f"option .services.llmhop.vllm.{option}' (is used but not|was accessed but)"
    with pytest.raises(NixError, match=unset):
        evaluate("contract", without)


@pytest.mark.parametrize(
    ("definition", "option"),
    [
        ("uid = -1", "uid"),
        ('cacheDir = "relative"', "cacheDir"),
        ("openFilesLimit = 0", "openFilesLimit"),
        ("subUidCount = 0", "subUidCount"),
        ("environment.A = 1", "environment.A"),
        ('devices = "nvidia.com/gpu=all"', "devices"),
        ("environmentFile = 1", "environmentFile"),
        ("unknown = 1", "unknown"),
        ("models.a.port = 65536", "models.a.port"),
        ('models.a.name = "-a"', "models.a.name"),
        ("models.a.settings = [ ]", "models.a.settings"),
        ("unitConfig.A = null", "unitConfig.A"),
        ("serviceConfig.A = { }", "serviceConfig.A"),
        ("models.a.containerConfig.A = null", "models.a.containerConfig.A"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_that_names_the_option(
    definition: str, option: str
) -> None:
    wrong = f"{{ services.llmhop.vllm.{definition}; }}"

    with pytest.raises(NixError, match=re.escape(f"services.llmhop.vllm.{option}'")):
        evaluate("contract", vllm(), wrong)


# What a deployer has to know to choose a value, of the reference.
TOLD = {
    "vllm.uid": ("root in a container", "400 to 999", "no other user"),
    "vllm.gid": ("group 0 in a container",),
    "vllm.subUidStart": ("UID 1 of every container", "1000", "people who log in", "overlap"),
    "vllm.dataDir": (".local/share/containers", "overlayfs"),
    "vllm.devices": ("nvidia.com/gpu=all", "/dev/dri/renderD128", "as it stands", "on the CPU"),
    "vllm.openFilesLimit": ("`accept: Too many open files`", "LimitNOFILE"),
    "vllm.startupOrdering": ("free memory of one GPU", "device of its own"),
    "vllm.models.<name>.shmSize": ("NCCL", "tensor parallelism", "64 MB", "taken as it fills"),
    "vllm.models.<name>.environmentFile": ("its entries win", "able to read it"),
    "vllm.models.<name>.name": (
        "`vllm-<name>.service`",
        "as `model`",
        "follows the attribute name",
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_an_option_says_how_to_choose_its_value(
    name: str, declared: dict[str, dict[str, Any]]
) -> None:
    description = " ".join(declared[f"services.llmhop.{name}"]["description"].split())

    assert [told for told in TOLD[name] if told not in description] == []


def test_a_setting_of_the_wrong_type_is_named_by_its_option() -> None:
    with pytest.raises(NixError, match=r"services\.llmhop\.settings\.port' is not of type"):
        evaluate("contractText", vllm(), '{ services.llmhop.settings.port = "x"; }')


def test_what_nobody_set_of_the_settings_is_not_in_the_contract() -> None:
    module = '{ services.llmhop.settings = { listen = null; models.a.headers.X = "y"; }; }'
    contract = json.loads(evaluate("contractText", vllm(), module))
    assert contract["llmhop"]["settings"] == {"models": {"a": {"headers": {"X": "y"}}}}
