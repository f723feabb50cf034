"""How tables come out: the same plain text for whatever reads it, and more on a terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmhop_generator.cli import tables

from tests.generator.support.terminal import run_on_terminal

ROWS = [
    ("MODEL", "STATE", "PORT"),
    ("a", "healthy", "18001"),
    ("failed", "failed", "[red]18002[/red]"),
    ("longer", "starting", ":smile: 0x7f"),
]
PLAIN = """\
MODEL   STATE     PORT
a       healthy   18001
failed  failed    [red]18002[/red]
longer  starting  :smile: 0x7f
"""


def command(rows: Sequence[Sequence[str]]) -> list[str]:
    code = """
import json, sys
from llmhop_generator.cli import tables
tables.show(json.loads(sys.argv[1]), has_head=True, colours=tables.STATES, coloured=1)
"""
    return [sys.executable, "-c", code, json.dumps(rows)]


def piped(**env: str) -> str:
    done = subprocess.run(
        command(ROWS), capture_output=True, text=True, check=True, env={**os.environ, **env}
    )
    return done.stdout


def padded(rows: Sequence[Sequence[str]]) -> str:
    """The text of a table as it was before `rich` made it."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )


def test_what_is_no_terminal_gets_plain_text() -> None:
    assert padded(ROWS) == PLAIN
    assert piped() == PLAIN
    # What would have `rich` itself write colours, or fold lines.
    assert piped(FORCE_COLOR="1", TTY_COMPATIBLE="1", TERM="xterm", COLUMNS="8") == PLAIN


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.tuples(*[st.text("ab[]/\\:#=-. *_`", max_size=200)] * n), min_size=1, max_size=4
        )
    )
)
def test_any_text_is_written_as_it_is(rows: list[tuple[str, ...]]) -> None:
    assert written(rows) == padded(rows)


def written(rows: Sequence[Sequence[str]]) -> str:
    with pytest.MonkeyPatch.context() as patched:
        told: list[str] = []
        patched.setattr(tables, "send", told.append)
        tables.show(rows)
    return "".join(told)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}])
def test_a_terminal_without_colours_gets_the_same_text(env: dict[str, str]) -> None:
    assert run_on_terminal(command(ROWS), columns=20, env=env) == PLAIN


def test_a_terminal_shows_states_in_colours() -> None:
    shown = run_on_terminal(command(ROWS))
    for word, colour in (("healthy", 32), ("starting", 33), ("failed", 31)):
        assert f"\033[{colour}m{word}\033[0m" in shown
    assert shown.startswith("\033[1m")
    # Nothing else is coloured: not a name that is such a word, and no number.
    assert len(re.findall(r"\033\[3[0-9]", shown)) == 3
    assert re.sub(r"\033\[[0-9]+m *", "", shown).count("[red]18002[/red]") == 1


def test_a_narrow_terminal_folds_a_cell_within_its_column() -> None:
    image = "docker.io/vllm/vllm-openai:v0.11.0"
    shown = run_on_terminal(command([("A", "B", "C"), ("a", "healthy", image)]), columns=30)
    lines = [re.sub(r"\033\[[0-9]+m", "", line) for line in shown.splitlines()]
    assert max(map(len, lines)) <= 30
    assert "".join(line[12:].strip() for line in lines[1:]) == image


@pytest.mark.parametrize("place", [0, 2])
def test_what_would_steer_a_terminal_is_spelled_out(place: int) -> None:
    hostile = "\033]0;title\a\033[2J\x9b31m\r\x7f\u202e\u2028ab\ttab\nline"
    row = ["x", "healthy", "y"]
    row[place] = hostile
    shown = run_on_terminal(command([("A", "B", "C"), row]), columns=200)
    assert r"\u001b]0;title\u0007\u001b[2J\u009b31m\u000d\u007f\u202e\u2028ab\ttab\nline" in shown
    assert set(re.findall(r"[\0-\x1f\x7f-\x9f\u202e]", shown)) == {"\033", "\n"}
    assert not re.search(r"\033(?!\[[0-9]+m)", shown)
