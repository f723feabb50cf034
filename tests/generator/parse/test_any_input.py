"""Whatever stands in a configuration: it is refused with a message, or it renders."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.tree import render_tree

FLEET = Path(__file__).parents[3] / "examples/fleet.json"
CONFIG = json.loads(FLEET.read_text(encoding="utf-8"))

TEXT = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="\"'\\%$;:/-. \n\t=,{}[]", max_size=8),
    st.sampled_from([";", "-", '"', "\\", "/", "/;", "a\\", " ", "%", "$x", "a:b", "x.build"]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += paths(inner, (*path, key))
    return found


def replaced(path: tuple[Any, ...], value: Any) -> Any:
    config = deepcopy(CONFIG)
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return config


def refused_or_rendered(config: Any) -> None:
    data = json.dumps(config).encode()
    try:
        parsed = parse_config(data, "config.json")
    except GeneratorError as error:
        assert str(error).startswith("config.json: ")
        assert error.findings or "\n" not in str(error)
    else:
        assert render_tree(parsed, "llmhop")


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(paths(CONFIG)), value=VALUES)
@example(path=("vllm", "modelSettings"), value={"config": ";"})
@example(path=("vllm", "devices"), value=["-;"])
@example(path=("vllm", "cacheDir"), value="/;")
def test_a_configuration_with_any_value_anywhere(path: tuple[Any, ...], value: Any) -> None:
    refused_or_rendered(replaced(path, value))


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_any_json(value: Any) -> None:
    refused_or_rendered(value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    try:
        parse_config(data, "config.json")
    except GeneratorError as error:
        assert str(error).startswith("config.json: ")
