"""The one place that starts processes."""

import logging
import os
import pwd
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
    """A user to run commands as, by number, with its other groups."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def account_of(uid: int) -> Account:
    """The account of a user; also of one that was removed."""
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return Account(uid, uid)
    groups = os.getgrouplist(found.pw_name, found.pw_gid)
    return Account(uid, found.pw_gid, tuple(sorted(groups)))


def require_root(verb: str) -> None:
    """See that this process may change the host.

    Raises:
        GeneratorError: it is not root.
    """
    if os.geteuid() != 0:
        raise GeneratorError(f"{verb} needs the system's managers; run it as root")


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
    done = _run(command, env, account, subprocess.PIPE, subprocess.PIPE)
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or "it printed nothing"
        raise GeneratorError(
            f"`{shlex.join(command)}` failed with exit code {done.returncode}: {said}"
        )
    return Finished(done.returncode, done.stdout, done.stderr)


def follow(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, account: Account | None = None
) -> int:
    """Run a command to its end, its messages on our standard error; give its exit code.

    Raises:
        GeneratorError: the command is missing.
    """
    return _run(command, env, account, subprocess.DEVNULL, None).returncode


def _run(
    command: Sequence[str],
    env: Mapping[str, str] | None,
    account: Account | None,
    stdout: int,
    stderr: int | None,
) -> "subprocess.CompletedProcess[str]":
    _log.info("%s", shlex.join(command))
    try:
        return subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=account.groups if account else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise GeneratorError(f"{command[0]} can't be run: {error.strerror}; install it") from None
