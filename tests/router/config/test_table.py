"""A key is stated once: its value, its messages and its schema follow, in tables of tables too."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from llmhop.config.config import CONFIG
from llmhop.config.schema.checker import Checker
from llmhop.config.schema.kinds import Boolean, ListOf, Named, Seconds, Whole
from llmhop.config.schema.table import NotTogether, OneOf, Table, required, setting
from llmhop.config.values import NAME, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may have."""

    at_once: int = setting(Whole(1, 9), 4, "Most requests at once.")
    wait: float | None = setting(Seconds(), None, "How long one waits.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who asks."""

    token: str = required(Token(), "What it sends.")
    models: tuple[str, ...] = setting(
        ListOf(NAME, 'write ["NAME"]', least=1, most=3, unique=True), (), "What it may ask for."
    )
    limits: Limits | None = setting(Table(Limits), None, "How much of it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """Clients, and keys that stand for others."""

    clients: Mapping[str, Client] = required(
        Named("client", Table(Client), 'write {"NAME": {"token": "${file:PATH}"}}'), "Who may ask."
    )
    a: bool = setting(Boolean(), False, "One.")
    b: bool = setting(Boolean(), False, "Another.")
    c: bool = setting(Boolean(), False, "A third.")


TOP = Table(Top, OneOf("a", "b"), NotTogether("c", "b"))
GOOD: dict[str, Any] = {"a": True, "clients": {"x": {"token": "secret"}}}


def read(data: object) -> tuple[Top | None, list[str]]:
    """What is read of a config, and the problems."""
    check = Checker(str, lambda _certificate, _key: None)
    return TOP.read(check, (), data), [str(problem) for problem in check.findings]


def test_what_is_given_is_read_and_the_rest_has_its_default() -> None:
    client = {"token": "secret", "models": ["m"], "limits": {"atOnce": 2, "wait": 1}}
    top, problems = read(GOOD | {"clients": {"x": client, "y": {"token": "other", "limits": {}}}})
    assert problems == []
    x = Client(token="secret", models=("m",), limits=Limits(at_once=2, wait=1.0))  # noqa: S106
    y = Client(token="other", models=(), limits=Limits(at_once=4, wait=None))  # noqa: S106
    assert top == Top(clients={"x": x, "y": y}, a=True, b=False, c=False)


def test_what_is_read_can_be_sent_to_a_worker_is_not_changed_and_shows_no_secret() -> None:
    top, _ = read(GOOD)
    assert top is not None
    assert pickle.loads(pickle.dumps(top)) == top  # noqa: S301 - our own
    assert "secret" not in repr(top)
    with pytest.raises(FrozenInstanceError):
        top.a = False  # type: ignore[misc]


def test_every_problem_is_told_at_once_in_the_order_of_the_keys() -> None:
    limits = {"atOnce": 0, "wiat": 1}
    x = {"limits": limits, "models": ["m", "m", ""], "token": " "}
    top, problems = read({"clients": {"x": x, "y": 1, "": {}}, "a": 1, "b": None, "c": "x", "d": 1})
    assert top is None
    assert problems == [
        "d: is not a known key; use one of clients, a, b, c",
        "clients.x.token: starts or ends with white space; remove it",
        "clients.x.models[1]: is listed twice; remove it",
        "clients.x.models[2]: is an empty or broken name; name it as clients do",
        "clients.x.limits.wiat: is not a known key; write wait",
        "clients.x.limits.atOnce: is out of range; write a number from 1 to 9",
        "clients.y: is not an object; write {…} with the keys token, models, limits",
        'clients."": has an empty or broken name; name it as clients do',
        'clients."".token: is missing; write ${file:PATH} or ${env:NAME}',
        "a: is not a boolean; write true or false",
        "c: is not a boolean; write true or false",
    ]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no client": (
        {"a": True},
        'clients: has no client; write {"NAME": {"token": "${file:PATH}"}}',
    ),
    "no clients": (
        {"a": True, "clients": {}},
        'clients: has no client; write {"NAME": {"token": "${file:PATH}"}}',
    ),
    "neither": ({"clients": GOOD["clients"]}, "a: is missing; write true or false"),
    "both": (GOOD | {"b": True}, "a: is given together with b; keep one of the two"),
    "two rules": (
        {"b": True, "c": True, "clients": GOOD["clients"]},
        "c: is given together with b; keep one of the two",
    ),
    "null for a token": (
        GOOD | {"clients": {"x": {"token": None}}},
        "clients.x.token: is missing; write ${file:PATH} or ${env:NAME}",
    ),
    "too few": (
        GOOD | {"clients": {"x": {"token": "s", "models": []}}},
        'clients.x.models: is an empty list; write ["NAME"]',
    ),
    "too many": (
        GOOD | {"clients": {"x": {"token": "s", "models": ["a", "b", "c", "d"]}}},
        "clients.x.models: is too long; write up to 3 models",
    ),
    "true for a number": (
        GOOD | {"clients": {"x": {"token": "s", "limits": {"atOnce": True}}}},
        "clients.x.limits.atOnce: is not a whole number; write a number from 1 to 9",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_schema_refuses_what_is_refused(name: str) -> None:
    data, line = BAD[name]
    assert read(data) == (None, [line])
    assert not Draft202012Validator(TOP.schema).is_valid(data)


def test_the_schema_takes_what_is_taken() -> None:
    Draft202012Validator.check_schema(TOP.schema)
    null = {"token": "s", "models": None, "limits": {"atOnce": None}}
    for data in (GOOD, GOOD | {"b": None, "c": True, "clients": {"x": null}}):
        assert read(data)[1] == []
        assert Draft202012Validator(TOP.schema).is_valid(data)


def test_rules_of_one_kind_stand_beside_each_other() -> None:
    validator = Draft202012Validator(Table(Top, OneOf("a", "b"), OneOf("b", "c")).schema)
    good = {"clients": GOOD["clients"]}
    assert validator.is_valid(good | {"b": True})
    assert validator.is_valid(good | {"a": True, "c": True})
    for keys in ("a", "c", "ab", "bc"):
        assert not validator.is_valid(good | dict.fromkeys(keys, True))


def test_the_schema_says_of_a_key_what_its_line_says() -> None:
    limits = TOP.schema["properties"]["clients"]["additionalProperties"]["properties"]["limits"]
    assert limits == {
        "type": ["object", "null"],
        "description": "How much of it.",
        "properties": {
            "atOnce": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": 9,
                "default": 4,
                "description": "Most requests at once.",
            },
            "wait": {
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
                "maximum": 86400,
                "description": "How long one waits.",
            },
        },
        "required": [],
        "additionalProperties": False,
    }


def test_every_key_is_described_in_a_sentence() -> None:
    tables = [CONFIG, CONFIG.settings["tls"].kind, CONFIG.settings["models"].kind.of]  # type: ignore[attr-defined]
    for table in tables:
        for each in table.settings.values():
            assert each.description.endswith(".")
