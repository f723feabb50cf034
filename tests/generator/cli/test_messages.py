"""What is said where nobody can read it, and what never reaches a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.generator.conftest import MINIMAL, Command
from tests.generator.support.terminal import run_on_terminal

SCHEMA = f"{sys.executable} -m llmhop_generator schema"


@pytest.mark.parametrize(
    ("output", "code", "told"),
    [
        (
            ">/dev/full",
            1,
            "error: standard output can't be written: No space left on device\n",
        ),
        ("| true", 141, ""),  # as of what SIGPIPE ends
    ],
)
def test_an_output_that_can_not_be_written_is_an_error_but_for_a_reader_that_left(
    output: str, code: int, told: str
) -> None:
    # It writes more than a pipe takes at once.
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {SCHEMA} {output}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, told)


def test_without_an_output_nothing_is_said() -> None:
    for closed in (">&-", ">&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", f"{SCHEMA} {closed}"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


TITLE = "\x1b]0;title\x07\x9b2J"
SPELLED = r"\u001b]0;title\u0007\u009b2J"


def serving(model: str) -> dict[str, Any]:
    config = deepcopy(MINIMAL)
    config["llmhop"] = {"settings": {"workers": 1}}
    config["vllm"]["models"]["qwen2-5-7b"]["model"] = model
    return config


def test_names_and_paths_do_not_steer_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / f"{TITLE}.json"
    path.write_text(json.dumps(serving(f"org/{TITLE}")))
    llmhop = tmp_path / f"{TITLE}.sh"
    llmhop.write_text(f'#!/bin/sh\nexec {sys.executable} -m llmhop "$@"\n')
    llmhop.chmod(0o755)
    command = [sys.executable, "-m", "llmhop_generator", "validate", str(path)]
    command += ["-v", "--llmhop", str(llmhop)]
    shown = run_on_terminal(command, columns=500)
    assert not re.search(r"[\0-\x09\x0b-\x1f\x7f-\x9f]", shown), shown
    assert f"qwen2-5-7b: org/{SPELLED} on port 18001\n" in shown
    assert f"{SPELLED}.json is valid" in shown
    assert f"{SPELLED}.sh' --check" in shown  # by -v


@pytest.mark.parametrize("line", ["report", "tick"])
def test_the_lines_of_a_run_steer_it_only_to_replace_one_another(line: str) -> None:
    code = f"from llmhop_generator.cli.terminal import terminal; report, tick = terminal(); {line}"
    shown = run_on_terminal([sys.executable, "-c", f"{code}({TITLE!r})"])
    assert shown.rstrip("\n") == f"\r\033[K{SPELLED}"


def test_errors_do_not_either(tmp_path: Path, generator: Command) -> None:
    for words in ([tmp_path / TITLE], [tmp_path / TITLE, "--what"], ["-", f"--{TITLE}"]):
        done = generator("validate", *words, stdin="{}")
        assert done.returncode in (1, 2)
        assert not re.search(r"[\0-\x09\x0b-\x1f\x7f-\x9f]", done.stderr), done.stderr


def test_a_path_that_is_no_utf_8_is_told(tmp_path: Path, generator: Command) -> None:
    path = Path(f"{tmp_path}/\udcff.json")
    path.write_text(json.dumps(MINIMAL))
    done = generator("validate", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"/\udcff.json is valid" in done.stdout
