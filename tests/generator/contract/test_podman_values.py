"""What llmhop makes of values of keys of which it is known what Podman does."""

import json
from typing import Any

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config

from tests.generator.conftest import MINIMAL
from tests.generator.support.podman_values import cases


def told(keys: dict[str, Any]) -> list[str]:
    """What is wrong with keys of a model's containerConfig."""
    config = json.loads(json.dumps(MINIMAL))
    config["vllm"]["models"]["qwen2-5-7b"]["containerConfig"] = keys
    try:
        parse_config(json.dumps(config).encode(), "config.json")
    except GeneratorError as error:
        return [str(problem) for problem in error.findings]
    return []


@pytest.mark.parametrize("keys", cases("taken"), ids=str)
def test_what_podman_takes_is_taken(keys: dict[str, Any]) -> None:
    assert told(keys) == []


@pytest.mark.parametrize("keys", cases("refused"), ids=str)
def test_what_podman_refuses_is_told_by_its_key(keys: dict[str, Any]) -> None:
    found = told(keys)
    assert found
    where = "services.llmhop.vllm.models.qwen2-5-7b.containerConfig."
    assert all(text.startswith(tuple(f"{where}{key}: " for key in keys)) for text in found), found


@pytest.mark.parametrize("keys", cases("late"), ids=str)
def test_what_podman_alone_can_tell_is_left_to_it(keys: dict[str, Any]) -> None:
    assert told(keys) == []
