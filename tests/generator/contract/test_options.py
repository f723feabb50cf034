"""The contract: defaults, what follows what, and the published schema."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from llmhop_generator.contract.options import Config, Disabled
from llmhop_generator.contract.schema import contract_schema, contract_schema_text
from llmhop_generator.parse.load import parse_config

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import EXAMPLES, parse, vllm_of

ROOT = Path(__file__).parents[3]


def test_the_shortest_configuration_has_every_default(minimal: dict[str, Any]) -> None:
    vllm = vllm_of(minimal)
    assert vllm.user == vllm.group == "vllm"
    assert vllm.uid == vllm.gid == 503
    assert vllm.sub_gid_start == vllm.sub_uid_start == 300000
    assert vllm.sub_gid_count == vllm.sub_uid_count == 65536
    assert vllm.image == "docker.io/vllm/vllm-openai"
    model = vllm.models["qwen2-5-7b"]
    assert (model.name, model.devices, model.shm_size) == ("qwen2-5-7b", [], "32g")
    assert parse(minimal).llmhop.enable


def test_a_model_follows_the_backends_devices_unless_it_has_its_own(
    minimal: dict[str, Any],
) -> None:
    minimal["vllm"]["devices"] = ["nvidia.com/gpu=all"]
    minimal["vllm"]["models"]["cpu"] = {"model": "m", "port": 2000, "devices": []}
    vllm = vllm_of(minimal)
    assert vllm.models["qwen2-5-7b"].devices == ["nvidia.com/gpu=all"]
    assert vllm.models["cpu"].devices == []


def test_the_group_follows_the_user(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["user"] = "serving"
    assert vllm_of(minimal).group == "serving"


def test_a_disabled_backend_needs_nothing_and_serves_nothing() -> None:
    config = parse({"version": 1, "vllm": {"enable": False}})
    assert isinstance(config.vllm, Disabled)
    assert not config.llmhop.enable


def test_a_disabled_backend_keeps_its_options_unread(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["enable"] = False
    assert isinstance(parse(minimal).vllm, Disabled)


def test_enabled_models_come_by_ascending_port(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["models"] = {
        "late": {"model": "m", "port": 18003},
        "off": {"model": "m", "port": 18002, "enable": False},
        "early": {"model": "m", "port": 18001},
    }
    assert [model.name for model in vllm_of(minimal).enabled_models] == ["early", "late"]


def test_numbers_stay_what_the_user_wrote(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["modelSettings"] = {"a": 0.9, "b": 1e-05, "c": 12345678901234567890}
    assert vllm_of(minimal).model_settings == {"a": 0.9, "b": 1e-05, "c": 12345678901234567890}


def test_a_byte_order_mark_is_passed_over(minimal: dict[str, Any]) -> None:
    data = b"\xef\xbb\xbf" + json.dumps(minimal).encode()
    assert parse_config(data, "config.json").version == 1


def test_the_committed_schema_is_that_of_the_models() -> None:
    committed = ROOT / "generator/contract.schema.json"
    assert committed.read_text(encoding="utf-8") == contract_schema_text()


def test_the_schema_is_valid_2020_12() -> None:
    schema = contract_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_satisfies_schema_and_models(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator(contract_schema()).validate(config)
    parse(config)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"unknown": 1},
        {"vllm": {"enable": True}},
        {"vllm": {**MINIMAL["vllm"], "environment": {"": ""}}},
        {"vllm": {**MINIMAL["vllm"], "cacheDir": "relative"}},
        {"vllm": {"enable": "yes"}},
        {"llmhop": {"enable": 1}},
    ],
)
def test_the_schema_refuses_what_the_models_refuse(change: dict[str, Any]) -> None:
    validator = Draft202012Validator(contract_schema())
    assert not validator.is_valid({"version": 1, **change})
    with pytest.raises(ValueError, match="validation error"):
        Config.model_validate({"version": 1, **change})
