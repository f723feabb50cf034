"""Secrets that llmhop's settings hold as they are: each is told by its option, none is shown."""

import json
from typing import Any

import pytest
from llmhop_generator.preflight.notes import host_notes
from llmhop_generator.router.plain_secrets import plain_secrets

from tests.generator.conftest import MINIMAL, Command
from tests.generator.support.contracts import parse

WAY_OUT = (
    'in plain text, for everybody who sees this configuration; write "${file:NAME}" with a '
    'credential of llmhop.service (LoadCredential=), or "${env:NAME}"'
)
REFERENCES = ["${file:token}", "${file:/run/secrets/a}", "${env:TOKEN}", "$TOKEN", "x-${env:A}"]
PLAIN = ["s3cret", "s3cret$word", "s3cret$WORd", "s3cret$"]


def told(**settings: Any) -> list[str]:
    config = {**MINIMAL, "llmhop": {"settings": settings}}
    return [str(each) for each in plain_secrets(parse(config).llmhop)]


def far(**headers: str) -> dict[str, Any]:
    return {"models": {"far": {"url": "http://127.0.0.1:9", "headers": headers}}}


@pytest.mark.parametrize("text", [*REFERENCES, *PLAIN])
def test_a_token_that_is_no_reference_is_told_by_its_place(text: str) -> None:
    is_plain = text in PLAIN
    clients = {"a": {"token": text}, "b": {"tokens": ["${file:b}", text]}}
    where = ["authTokens[1]", "clients.a.token", "clients.b.tokens[1]"]
    found = told(authTokens=["${file:a}", text], clients=clients)
    assert (
        found
        == [f"services.llmhop.settings.{each}: holds a token {WAY_OUT}" for each in where][
            : 3 * is_plain
        ]
    )


@pytest.mark.parametrize(
    ("header", "value", "is_login"),
    [
        ("Authorization", "s3cret", True),
        ("X-Api-Key", "s3cret", True),
        ("x-session-TOKEN", "s3cret", True),
        ("X-Auth", "Bearer s3cret", True),
        ("X-Auth", "basic s3cret", True),
        ("X-Team", "s3cret", False),
        ("Authorization", "Bearer ${file:key}", False),
        ("Authorization", "", False),
    ],
)
def test_a_header_that_is_a_login_is_told(header: str, value: str, is_login: bool) -> None:
    where = f"services.llmhop.settings.models.far.headers.{header}"
    assert told(**far(**{header: value})) == [f"{where}: looks like a secret {WAY_OUT}"] * is_login


def test_settings_without_secrets_tell_of_none() -> None:
    assert told() == []
    assert told(authTokens=[], models={"far": {"url": "http://127.0.0.1:9"}}) == []


def test_validate_and_check_warn_and_show_no_value(generator: Command, simulated: object) -> None:
    config = {**MINIMAL, "llmhop": {"settings": {"authTokens": ["s3cret"], **far(Cookie="s3cret")}}}
    done = generator("validate", "-", stdin=json.dumps(config))
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"warning: llmhop.settings.authTokens[0]: holds a token {WAY_OUT}",
        f"warning: llmhop.settings.models.far.headers.Cookie: looks like a secret {WAY_OUT}",
    ]
    assert "s3cret" not in done.stdout
    assert [note.partition(": ")[0] for note in host_notes(parse(config))][:2] == [
        "services.llmhop.settings.authTokens[0]",
        "services.llmhop.settings.models.far.headers.Cookie",
    ]
