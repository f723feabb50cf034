"""Wrong usage of the command, and its options that stand anywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.generator.conftest import MINIMAL, Command


@pytest.mark.parametrize(
    "arguments",
    [
        ("validate",),
        ("render", "x.json"),
        ("nothing",),
        ("eval", "a#b"),
        ("--no",),
        ("logs", "-n", "x", "m"),
        ("logs", "-n", "-1", "m"),
        *(
            ("apply", "x.json", "--lock-timeout", each)
            for each in ("nan", "inf", "-inf", "-1", "x")
        ),
    ],
)
def test_wrong_usage_exits_with_2_and_says_so_as_every_error_does(
    arguments: tuple[str, ...], generator: Command
) -> None:
    done = generator(*arguments)
    assert done.returncode == 2
    *usage, last = done.stderr.splitlines()
    assert usage[0].startswith("Usage: ")
    assert last.startswith("error: ")


def test_without_a_command_the_commands_are_told_once(generator: Command) -> None:
    done = generator()
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: ")
    assert (done.stderr.count("Usage: "), "error: " in done.stderr) == (1, False)


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_commands_that_are_run_show_wherever_it_is_asked_for(
    place: str, generator: Command, config_file: Callable[[Any], Path]
) -> None:
    words = ["validate", str(config_file({**MINIMAL, "llmhop": {"settings": {"workers": 2}}}))]
    done = generator(*(["-v", *words] if place == "before" else [*words, "-v"]))
    assert done.returncode == 0
    assert "--check" in done.stderr
    assert "--check" not in generator(*words).stderr
