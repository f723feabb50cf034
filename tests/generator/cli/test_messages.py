"""What is said where nobody can read it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCHEMA = f"{sys.executable} -m llmhop_generator schema"


@pytest.mark.parametrize(
    ("output", "reason"), [(">/dev/full", "No space left on device"), ("| true", "Broken pipe")]
)
def test_an_output_that_can_not_be_written_is_an_error(output: str, reason: str) -> None:
    # It writes more than a pipe takes at once.
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {SCHEMA} {output}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"error: standard output can't be written: {reason}\n"


def test_without_an_output_nothing_is_said() -> None:
    for closed in (">&-", ">&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", f"{SCHEMA} {closed}"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
