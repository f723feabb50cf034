"""The one place that starts processes."""

import logging
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from llmhop_generator.errors import GeneratorError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """A process that has ended: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Account:
    """A user to run commands as, by number."""

    uid: int
    gid: int


def become(command: Sequence[str]) -> NoReturn:
    """Replace this process by a command, which has the terminal then.

    Raises:
        GeneratorError: the command is missing.
    """
    _log.info("%s", shlex.join(command))
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise GeneratorError(f"{command[0]} can't be run: {error.strerror}; install it") from None


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    check: bool = True,
) -> Finished:
    """Run a command to its end, as `account` where one is given; `env` is added to the environment.

    Raises:
        GeneratorError: the command is missing or, with `check`, exits with another code than 0.
    """
    _log.info("%s", shlex.join(command))
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise GeneratorError(f"{command[0]} can't be run: {error.strerror}; install it") from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or "it printed nothing"
        raise GeneratorError(
            f"`{shlex.join(command)}` failed with exit code {done.returncode}: {said}"
        )
    return Finished(done.returncode, done.stdout, done.stderr)
