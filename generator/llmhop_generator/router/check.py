"""Has llmhop judge its own settings, by the command that is to serve.

What llmhop takes is llmhop's to say: its checks are asked as a program and not repeated here, so
that both can't differ. Secrets are left out, as only the service can read them.
"""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from llmhop_generator.errors import GeneratorError, Path
from llmhop_generator.host.process import run

_log = logging.getLogger(__name__)

COMMAND_VARIABLE = "LLMHOP_COMMAND"
"""Names the router's command; the Nix package of the generator sets it."""

_NOT_ASKED = (
    "warning: the settings of llmhop were not checked, as %s can't be asked (%s); "
    "name another with --llmhop"
)
_CHECK = ("--check", "--without-secrets", "--json", "--config", "/dev/stdin")

Judge = Callable[[Mapping[str, Any]], list[tuple[Path, str]]]
"""Finds what is wrong with a configuration of llmhop: places in it, and what to do."""


def no_judge(_settings: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Find nothing."""
    return []


def default_llmhop() -> str:
    """The router's command: named by the environment, beside this one, else on the PATH."""
    if named := os.environ.get(COMMAND_VARIABLE):
        return named
    # Of a virtual environment, python is a link that leads out of it.
    for program in (FilePath(sys.argv[0]).resolve(), FilePath(sys.executable)):
        beside = program.with_name("llmhop")
        if beside.is_file():
            return str(beside)
    return shutil.which("llmhop") or "llmhop"


def judge_by(command: str) -> Judge:
    """Give the judge that asks a router's command.

    Where it can't be asked, it says so and finds nothing: also who has no llmhop at hand can
    check the rest.
    """

    @cache
    def ask(text: str) -> list[tuple[Path, str]]:
        try:
            done = run([command, *_CHECK], stdin=text, check=False)
        except GeneratorError as error:
            _log.warning(_NOT_ASKED, command, error)
            return []
        found = findings_of(done.stdout)
        if found is None:
            said = done.stderr.strip() or "what it says is not understood"
            _log.warning(_NOT_ASKED, command, said)
        return found or []

    # The hosts of a flake often share their settings.
    return lambda settings: ask(json.dumps(settings, sort_keys=True))


def findings_of(output: str) -> list[tuple[Path, str]] | None:
    """Read what `llmhop --check --json` prints, or give None where it is something else."""
    try:
        problems = json.loads(output)["problems"]
        return [(tuple(p["path"]), f"{p['what']}; {p['todo']}") for p in problems]
    except (ValueError, KeyError, TypeError):
        return None
