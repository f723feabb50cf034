"""References to secrets in config strings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from llmhop.config.secrets import SecretError, expand, expand_unread


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$A", "one"),
        ("${A}", "one"),
        ("${env:A}", "one"),
        ("Bearer ${env:A}-$B.", "Bearer one-$A."),
        ("100 $ or $, $-", "100 $ or $, $-"),
    ],
)
def test_variables_are_replaced_once(text: str, value: str) -> None:
    assert expand(text, {"A": "one", "B": "$A"}) == value


def test_a_relative_file_is_a_credential_and_loses_its_trailing_newline(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"a b\r\n\n")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert expand("<${file:token}>", environment) == "<a b>"
    assert expand(f"${{file:{tmp_path}/token}}", {}) == "a b"


def test_a_relative_file_without_credentials_starts_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("here")
    monkeypatch.chdir(tmp_path)
    assert expand("${file:token}", {}) == "here"


@pytest.mark.parametrize("content", [b"\xff", b"x" * 70_000, b"", b"\r\n"])
def test_a_file_that_is_no_secret_is_refused_without_its_content(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(SecretError) as caught:
        expand("${file:token}", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["$EMPTY", "${EMPTY}", "Bearer ${env:EMPTY}"])
def test_a_variable_without_a_value_is_no_secret(text: str) -> None:
    with pytest.raises(SecretError, match="is empty"):
        expand(text, {"EMPTY": ""})
    assert expand_unread(text)


@pytest.mark.parametrize("text", ["${}", "${env:}", "$5", "${file:a\0b}", "${x:y}", "a${"])
def test_what_refers_to_nothing_is_refused(text: str) -> None:
    with pytest.raises(SecretError):
        expand(text, {})


@pytest.mark.parametrize(
    ("text", "outline"),
    [
        ("plain", "plain"),
        ("", ""),
        ("Bearer ${file:t}", "Bearer secret"),
        ("$A${env:B}", "secret" * 2),
    ],
)
def test_a_reference_that_is_not_read_stands_for_a_word(text: str, outline: str) -> None:
    assert expand_unread(text) == outline


@pytest.mark.parametrize("text", ["${}", "${env:}", "${env:A=B}", "${file:}", "${x:y}", "a${"])
def test_what_can_refer_to_nothing_is_refused_unread(text: str) -> None:
    with pytest.raises(SecretError):
        expand_unread(text)


class Variables(dict[str, str]):
    """An environment in which every variable is set whose name can be one (environ(7))."""

    def __missing__(self, name: str) -> str:
        if not name or "=" in name or "\0" in name:
            raise KeyError(name)
        return "value"


@example("${env:A=n}")
@given(st.text(alphabet="${}:env=A\0 ", max_size=12))
def test_unread_a_variable_is_refused_just_where_it_could_not_be_set(text: str) -> None:
    def refused(resolve: Callable[[str], str]) -> bool:
        try:
            resolve(text)
        except SecretError:
            return True
        return False

    assert refused(expand_unread) == refused(lambda text: expand(text, Variables()))
