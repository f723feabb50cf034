"""Keys that a deployer adds to units: where they are written, and which win."""

from typing import Any

import pytest
from llmhop_generator.render.model_unit import added_option, quadlet_files
from llmhop_generator.render.start_note import without_note

from tests.generator.support.contracts import vllm_of

QWEN = "vllm-qwen2-5-7b.container"


def unit_of(config: Any) -> dict[str, list[str]]:
    """The lines of each section of the one model's unit."""
    vllm = vllm_of(config)
    sections: dict[str, list[str]] = {}
    for block in quadlet_files(vllm)[QWEN].split("\n\n")[1:]:
        name, *lines = without_note(block).strip().splitlines()
        sections[name.strip("[]")] = lines
    return sections


def model(config: Any) -> Any:
    return config["vllm"]["models"]["qwen2-5-7b"]


@pytest.mark.parametrize(
    ("option", "section"),
    [("unitConfig", "Unit"), ("serviceConfig", "Service"), ("containerConfig", "Container")],
)
def test_added_keys_stand_as_they_are_after_our_own(
    option: str, section: str, minimal: dict[str, Any]
) -> None:
    before = unit_of(minimal)[section]
    minimal["vllm"][option] = {"Key": 'as %i "it" $is'}
    assert unit_of(minimal)[section] == [*before, 'Key=as %i "it" $is']


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (True, ["Key=true"]),
        (False, ["Key=false"]),
        (5, ["Key=5"]),
        (0.5, ["Key=0.5"]),
        ("", ["Key="]),
        (["", "a", 1], ["Key=", "Key=a", "Key=1"]),
        ([], []),
    ],
)
def test_each_item_of_a_list_is_a_line_and_nothing_is_none(
    value: Any, lines: list[str], minimal: dict[str, Any]
) -> None:
    minimal["vllm"]["serviceConfig"] = {"Key": value}
    found = unit_of(minimal)["Service"]
    assert [line for line in found if line.startswith("Key")] == lines


def test_a_models_keys_win_over_the_backend_wide_ones(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["containerConfig"] = {"GroupAdd": "keep-groups", "Timezone": ["local"]}
    model(minimal)["containerConfig"] = {"Timezone": "UTC", "Label": ["a=1", "b=2"]}
    added = unit_of(minimal)["Container"][-4:]
    assert added == ["GroupAdd=keep-groups", "Label=a=1", "Label=b=2", "Timezone=UTC"]
    model(minimal)["containerConfig"] = {"GroupAdd": []}
    assert not any("GroupAdd" in line for line in unit_of(minimal)["Container"])


def test_a_key_is_traced_to_the_option_that_set_it(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["containerConfig"] = {"All": 1, "Both": 1}
    minimal["vllm"] |= {"serviceConfig": {"Nice": 1}, "unitConfig": {"PartOf": "a.target"}}
    minimal["vllm"]["models"] = {
        "a.b": {**model(minimal), "name": "qwen2-5-7b", "containerConfig": {"Both": 2}}
    }
    vllm = vllm_of(minimal)
    where = "services.llmhop.vllm"
    assert added_option(vllm, QWEN, "Both") == f'{where}.models."a.b".containerConfig.Both'
    assert added_option(vllm, QWEN, "All") == f"{where}.containerConfig.All"
    assert added_option(vllm, QWEN, "Nice") == f"{where}.serviceConfig.Nice"
    assert added_option(vllm, QWEN, "PartOf") == f"{where}.unitConfig.PartOf"
    assert added_option(vllm, QWEN, "Image") is None
