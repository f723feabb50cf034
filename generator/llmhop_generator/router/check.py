"""Checks llmhop's settings with llmhop itself (`llmhop --check`), by the command that is to serve.

Its checks are run as a program and not repeated here, so that the two can't differ. Secrets
are left out, as only the service can read them.
"""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.host.process import run

_log = logging.getLogger(__name__)

COMMAND_VARIABLE = "LLMHOP_COMMAND"
"""Names the router's command; the Nix package of the generator sets it."""

_NOT_ASKED = (
    "warning: the settings of llmhop were not checked, as %s can't be asked (%s); "
    "name another with --llmhop"
)
_CHECK = ("--check", "--without-secrets", "--json", "--config", "/dev/stdin")

Judge = Callable[[Mapping[str, Any]], list[Finding]]
"""Finds what is wrong with a configuration of llmhop, by the options that become it."""


def no_judge(_settings: Mapping[str, Any]) -> list[Finding]:
    """Find nothing."""
    return []


def default_llmhop() -> str:
    """The router's command: named by the environment, beside this one, else on the PATH."""
    if named := os.environ.get(COMMAND_VARIABLE):
        return named
    # Of a virtual environment, python is a link that leads out of it.
    for program in (Path(sys.argv[0]).resolve(), Path(sys.executable)):
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
    def ask(text: str) -> list[Finding]:
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


def findings_of(output: str) -> list[Finding] | None:
    """Read what `llmhop --check --json` prints, or give None where it is something else."""
    try:
        problems = json.loads(output)["problems"]
        return [
            Finding.at(("llmhop", "settings", *p["path"]), f"{p['what']}; {p['todo']}")
            for p in problems
        ]
    except (ValueError, KeyError, TypeError):
        return None
