"""Settings become the flags that vLLM reads."""

from typing import Any

import pytest
from llmhop_generator import flags


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, ["--key"]),
        (False, []),
        (None, []),
        ([], []),
        ("", ["--key="]),
        ("128K", ["--key=128K"]),
        ("-1", ["--key=-1"]),
        (0, ["--key=0"]),
        (0.9, ["--key=0.9"]),
        (1e-05, ["--key=1e-05"]),
        ("a b", ["--key=a b"]),
        ('{"image": 1}', ['--key={"image": 1}']),
        ({"image": {"count": 1}}, ['--key={"image":{"count":1}}']),
        ({}, ["--key={}"]),
        (["a"], ["--key=a"]),
        (["-a"], ["--key=-a"]),
        (["a", 1, {"b": True}], ["--key", "a", "1", '{"b":true}']),
        ("é", ["--key=é"]),
    ],
)
def test_a_value_becomes_words(value: Any, expected: list[str]) -> None:
    assert flags.arguments({"key": value}) == expected


def test_flags_come_in_the_order_of_their_names() -> None:
    assert flags.arguments({"b": 1, "a": 2}) == ["--a=2", "--b=1"]


def test_a_negated_flag_is_written_by_its_name() -> None:
    assert flags.arguments({"no-enable-prefix-caching": True}) == ["--no-enable-prefix-caching"]


def test_the_models_own_setting_wins_however_it_is_spelled() -> None:
    merged = flags.merge({"max-model-len": 1, "dtype": "auto"}, {"max_model_len": 2})
    assert merged == {"dtype": "auto", "max_model_len": 2}


def test_null_takes_a_backend_wide_setting_back() -> None:
    assert flags.arguments(flags.merge({"a": 1}, {"a": None})) == []


def test_lists_that_vllm_reads_as_json_are_written_as_json() -> None:
    assert flags.arguments({"allowed-origins": ["*", "b"]}) == ['--allowed-origins=["*","b"]']


def test_lists_that_vllm_collects_are_repeated() -> None:
    assert flags.arguments({"middleware": ["a", "b"]}) == ["--middleware=a", "--middleware=b"]


def test_the_config_file_is_a_word_of_its_own() -> None:
    assert flags.arguments({"config": "/models/c.yaml"}) == ["--config", "/models/c.yaml"]
