"""The completions as bash takes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.command_pages import COMMANDS
from tests.docs.markdown import ROOT

# As bash calls it for the words so far, of which the last is to be completed.
SCRIPT = r"""
compopt() { kinds+="$1 $2"; }
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
eval "$(complete -p "$1" | sed -E 's/.* -F ([^ ]+) .*/\1/')" "$1"
echo "$kinds"; printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "kinds", "found"),
    [
        (
            "llmhop-generator",
            "",
            "apply check diff eval logs provision render restore-routes schema status validate",
        ),
        ("llmhop-generator st", "", "status"),
        ("llmhop-generator apply --no-", "", "--no-wait --no-wait-at-boot"),
        ("llmhop-generator apply co", "-o default", ""),
        ("llmhop-generator logs unheard-of", "", ""),
        ("llmhop --without", "", "--without-secrets"),
        ("llmhop --config co", "-o default", ""),
    ],
)
def test_bash_completes(words: str, kinds: str, found: str) -> None:
    command, *rest = words.split()
    (project,) = (project for project, (name, *_) in COMMANDS.items() if name == command)
    script = ROOT / project / "share/bash-completion/completions" / command
    done = subprocess.run(
        ["bash", "-c", SCRIPT, "bash", script, command, *(rest or [""])],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    first, *names = done.stdout.splitlines()
    assert (first, " ".join(names)) == (kinds, found), done.stderr
