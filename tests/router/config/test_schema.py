"""The published JSON Schema and the parser say the same."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from llmhop.config.findings import ConfigError
from llmhop.config.parser import config_schema

from tests.router.support.certificates import Authority
from tests.router.support.corpus.config import BAD
from tests.router.support.corpus.full_config import ALTERNATIVES, FULL, REPLICAS
from tests.router.support.endpoints import check
from tests.router.support.process import llmhop

SCHEMA = config_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
COMMITTED = Path(__file__).parents[3] / "router" / "config.schema.json"

# What takes more than a schema to see: secrets, hosts, files, and what one part says of another.
ONLY_THE_PARSER_SEES = {
    "surrogate in a model name",
    "host is no host",
    "host that is no IPv4 address",
    "host with a port",
    "allowed host 'a b'",
    "origin 'https://app.example:443'",
    "origin 'http://app.example:80'",
    "origin 'https://app.example\\n'",  # as that of a url below
    "token with a space",
    "unset variable",
    "unset plain variable",
    "missing file",
    "directory as a secret",
    "unknown reference",
    "open reference",
    "header of the framing",
    "header of the way",
    "header twice",
    "unset variable in a header",
    "alias of another model",
    "alias that is a model",
    "alias that is the model itself",
    "tls files that are not there",
    "memory for less than a body",
    "memory for less than a body of each worker",
    "url 'http:///v1'",
    "url 'http://h:0'",
    "url 'http://h:99999'",
    "url 'http://h:x'",
    "url 'http://[::1'",
    "url 'http://h#f'",
    "url 'http://u:secret@h'",
    "url 'http://-_*'",
    "url 'http://127.0.0.01'",
    f"url {'unix:/' + 'x' * 107!r}",
    "url 'unix:/s:/v1#f'",
    "url 'http://h\\n'",  # for ECMA's $ it is an error, not for Python's
    "a listener twice",
    "a listener for IPv4 as IPv6",
    "listen 'h:65536'",
    "listen '::1:80'",
    "listen '[h]:80'",
    "listen '[::g]:80'",
    "listen '192.168.1.300:80'",
    "listen 'unix:/\\ud800'",
    f"listen {'unix:/' + 'é' * 54!r}",
}


def valid(data: object) -> bool:
    return bool(VALIDATOR.is_valid(data))


def accepted(data: dict[str, Any]) -> bool:
    try:
        check(data)
    except ConfigError:
        return False
    return True


@pytest.fixture
def full(tmp_path: Path) -> dict[str, Any]:
    """A config with every key but the alternatives."""
    return deepcopy(FULL) | Authority(tmp_path).config()


def test_the_committed_schema_is_what_the_command_prints() -> None:
    done = llmhop("--schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == COMMITTED.read_text(encoding="utf-8")
    assert json.loads(done.stdout) == SCHEMA


def test_the_schema_is_a_valid_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_key_of_the_schema_is_accepted_by_the_parser(full: dict[str, Any]) -> None:
    keys = SCHEMA["properties"]
    assert keys.keys() == full.keys() | ALTERNATIVES.keys()
    assert keys["tls"]["properties"].keys() == full["tls"].keys()
    model = keys["models"]["additionalProperties"]
    assert model["properties"].keys() == full["models"]["m"].keys() | {"urls"}
    assert valid(full)
    assert accepted(full)
    for key, (replaced, value) in ALTERNATIVES.items():
        other = {k: v for k, v in full.items() if k != replaced} | {key: value}
        assert valid(other)
        assert accepted(other)
    of_model = {k: v for k, v in full["models"]["m"].items() if k != "url"}
    other = full | {"models": {"m": of_model | {"urls": REPLICAS}}}
    assert valid(other)
    assert accepted(other)


def test_no_other_key_is_in_the_schema_or_known_to_the_parser(full: dict[str, Any]) -> None:
    for place in (full, full["tls"], full["models"]["m"]):
        place["somethingElse"] = 1
        assert not valid(full)
        assert not accepted(full)
        del place["somethingElse"]


def test_null_stands_for_a_key_that_is_not_given(full: dict[str, Any]) -> None:
    for place in (full, full["models"]["m"]):
        for key in place.keys() - {"models", "url"}:
            kept, place[key] = place[key], None
            assert valid(full)
            assert accepted(full)
            place[key] = kept
    nulls: dict[str, Any] = dict.fromkeys(SCHEMA["properties"])
    assert valid(nulls | {"models": full["models"]})
    assert accepted(nulls | {"models": full["models"]})


def test_defaults_in_the_schema_are_what_a_config_without_the_key_means() -> None:
    properties = SCHEMA["properties"]
    model = properties["models"]["additionalProperties"]["properties"]
    given = {key: schema["default"] for key, schema in properties.items() if "default" in schema}
    of_model = {key: schema["default"] for key, schema in model.items() if "default" in schema}
    assert given
    assert of_model
    url = {"url": "http://h"}
    assert check({**given, "models": {"m": url | of_model}}) == check({"models": {"m": url}})


@pytest.mark.parametrize("name", BAD)
def test_schema_and_parser_refuse_the_same(name: str) -> None:
    assert valid(BAD[name][0]) == (name in ONLY_THE_PARSER_SEES)


def test_each_case_that_only_the_parser_sees_is_one_of_the_table() -> None:
    assert BAD.keys() >= ONLY_THE_PARSER_SEES
