"""Values of a wrong type: the published schema and the parser refuse the same, at every place."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from llmhop_generator.contract.options import Config
from llmhop_generator.contract.schema import contract_schema
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config
from llmhop_generator.parse.rules import rule_findings
from pydantic import ValidationError

VALIDATOR = Draft202012Validator(contract_schema())
Path = tuple[str | int, ...]

KEYS = {"Key": "a", "Keys": ["a", 1, 0.5, True]}
WHOLE: dict[str, Any] = {
    "version": 1,
    "vllm": {
        "enable": True,
        "cacheDir": "/var/cache/vllm",
        "dataDir": "/var/lib/vllm",
        "devices": ["nvidia.com/gpu=all"],
        "environment": {"A": "1"},
        "environmentFile": "/etc/vllm/.env",
        "uid": 503,
        "gid": 503,
        "user": "vllm",
        "group": "vllm",
        "image": "docker.io/vllm/vllm-openai",
        "modelSettings": {"seed": 1},
        "openFilesLimit": 1024,
        "startupOrdering": True,
        "subUidStart": 300000,
        "subUidCount": 65536,
        "subGidStart": 300000,
        "subGidCount": 65536,
        "tag": "v1",
        "unitConfig": KEYS,
        "serviceConfig": KEYS,
        "containerConfig": KEYS,
        "models": {
            "a": {
                "enable": True,
                "devices": ["nvidia.com/gpu=0"],
                "digest": "sha256:" + "a" * 64,
                "environment": {"A": "1"},
                "environmentFile": "/etc/vllm/.env",
                "model": "org/a",
                "name": "a",
                "port": 18001,
                "settings": {"seed": 1},
                "shmSize": "1g",
                "unitConfig": KEYS,
                "serviceConfig": KEYS,
                "containerConfig": KEYS,
            },
            "b": {"model": "org/b", "port": 18002, "tag": "v2"},
        },
    },
    "llmhop": {
        "enable": True,
        "settings": {
            "listen": [":8080"],
            "socketMode": "0660",
            "models": {"c": {"url": "http://h", "headers": {"A": "1"}}},
            "authTokens": ["x"],
            "clients": {
                "one": {"token": "y", "models": ["c"], "paths": ["/sleep"]},
                "two": {
                    "tokens": ["z"],
                    "maxConcurrent": 1,
                    "requestsPerMinute": 2,
                    "tokensPerMinute": 3,
                },
            },
            "maxBodyBytes": 1,
        },
    },
}
OTHERS: dict[str, Any] = {
    "listen is one": {
        **WHOLE,
        "llmhop": {"enable": True, "settings": {**WHOLE["llmhop"]["settings"], "listen": ":1"}},
    },
    "host and port": {
        **WHOLE,
        "llmhop": {"enable": True, "settings": {"host": "127.0.0.1", "port": 8080}},
    },
    "vllm is off": {
        "version": 1,
        "vllm": {"enable": False},
        "llmhop": {"enable": True, "settings": {"models": {"c": {"url": "http://h"}}}},
    },
}
CONFIGS = {"whole": WHOLE, **OTHERS}

WRONG: list[Any] = [
    *(None, True, False),
    *(0, 1, 7, -1, 0.0, 1.0, 7.0, 1.5, 2**31, 2.0**31, 1e300),
    *("x", "1", "true", "null", "503"),
    *([], ["x"], [1], [1.0], [True], [None], [[]], [{}]),
    *({}, {"x": "x"}, {"x": 1}, {"x": None}, {"x": True}, {"x": []}),
]


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    inner = list(value.items()) if isinstance(value, dict) else []
    inner += enumerate(value) if isinstance(value, list) else []
    for key, each in inner:
        yield from paths(each, (*path, key))


def replaced(config: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    changed = deepcopy(config)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def parses(config: Any) -> bool:
    try:
        Config.model_validate(config)
    except ValidationError:
        return False
    # The one rule of `parse.rules` that the schema has too.
    return not any(each.path[-1] == "enable" for each in rule_findings(config))


def is_accepted(config: Any) -> bool:
    try:
        parse_config(json.dumps(config).encode(), "config.json")
    except GeneratorError:
        return False
    return True


PLACES = [(name, path) for name, config in CONFIGS.items() for path in paths(config)]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configurations_that_are_changed_are_right(name: str) -> None:
    assert VALIDATOR.is_valid(CONFIGS[name])
    assert is_accepted(CONFIGS[name])


def test_every_option_is_among_those_that_are_changed() -> None:
    shown = {key for _, path in PLACES for key in path}
    for name, definition in contract_schema()["$defs"].items():
        assert set(definition.get("properties", {})) <= shown, name


@pytest.mark.parametrize(("name", "path"), PLACES, ids=str)
def test_schema_and_parser_agree_on_every_type_at_every_place(name: str, path: Path) -> None:
    for value in WRONG:
        config = replaced(CONFIGS[name], path, value)
        assert VALIDATOR.is_valid(config) == parses(config), (path, value)


VALUES = st.recursive(
    st.sampled_from([value for value in WRONG if not isinstance(value, dict | list)])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("x"), inner),
    max_leaves=4,
)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
@example(("whole", ("vllm", "enable")), 1)
@example(("whole", ("version",)), True)
def test_what_is_accepted_satisfies_the_published_schema(
    place: tuple[str, Path], value: Any
) -> None:
    config = replaced(CONFIGS[place[0]], place[1], value)
    assert VALIDATOR.is_valid(config) == parses(config)
    if is_accepted(config):
        assert VALIDATOR.is_valid(config)


@pytest.mark.parametrize(
    "path",
    [
        ("version",),
        ("vllm", "uid"),
        ("vllm", "subUidCount"),
        ("vllm", "openFilesLimit"),
        ("vllm", "models", "a", "port"),
        ("llmhop", "settings", "maxBodyBytes"),
    ],
    ids=str,
)
def test_a_whole_number_may_be_spelled_with_a_fraction_of_zero(path: Path) -> None:
    """As JSON Schema has it: 1.0 is an integer (core vocabulary 2020-12, section 6.1.1)."""
    number = WHOLE
    for key in path:
        number = number[str(key)]
    config = replaced(WHOLE, path, float(str(number)))
    read = parse_config(json.dumps(config).encode(), "config.json")
    assert read == parse_config(json.dumps(WHOLE).encode(), "config.json")
    assert ".0" not in str(read.version)


def test_what_models_share_is_found_however_a_number_is_spelled() -> None:
    config = replaced(WHOLE, ("vllm", "models", "b", "port"), 18001.0)
    with pytest.raises(GeneratorError, match=r"18001 is the port of"):
        parse_config(json.dumps(config).encode(), "config.json")
    config = replaced(WHOLE, ("vllm", "uid"), 0.0)
    with pytest.raises(GeneratorError, match=r"must not be 0"):
        parse_config(json.dumps(config).encode(), "config.json")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("version",), True, "version: must be 1, not true"),
        (("version",), "1", 'version: must be 1, not "1"'),
        (("vllm", "enable"), 1, "vllm.enable: must be true or false, not 1"),
        (("vllm", "enable"), 0, "vllm.enable: must be true or false, not 0"),
        (("vllm", "enable"), 1.0, "vllm.enable: must be true or false, not 1.0"),
        (("vllm", "uid"), 503.5, "vllm.uid: must be a whole number, not 503.5"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_told(path: Path, value: Any, told: str) -> None:
    config = replaced(WHOLE, path, value)
    with pytest.raises(GeneratorError) as caught:
        parse_config(json.dumps(config).encode(), "config.json")
    assert f"services.llmhop.{told}" in str(caught.value) or told in str(caught.value)
