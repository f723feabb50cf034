"""The one place that starts processes."""

import logging
import os
import pwd
import selectors
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, NoReturn, cast

from llmhop_generator.errors import GeneratorError

_log = logging.getLogger(__name__)

_TERMINATE_S = 10.0  # how long a command that is told to end may take before it is killed
_PIECE_BYTES = 1 << 16


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


def is_root() -> bool:
    """Whether this process is root."""
    return os.geteuid() == 0


def require_root(verb: str, why: str = "needs the system's managers") -> None:
    """See that this process is root, without which the command `verb` can't do what `why` says.

    Raises:
        GeneratorError: it is not root.
    """
    if not is_root():
        raise GeneratorError(f"{verb} {why}; run it as root")


def acts_as(uid: int) -> bool:
    """Whether this process may run commands as a user: it is root or that user."""
    return os.geteuid() in (0, uid)


def become(command: Sequence[str]) -> NoReturn:
    """Replace this process by a command, which has the terminal then.

    Raises:
        GeneratorError: the command is missing.
    """
    _log.info("%s", shlex.join(command))
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise _not_run(command, error) from None


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    stdin: str = "",
    check: bool = True,
) -> Finished:
    """Run a command to its end, as `account` where one is given; `env` is added to the environment.

    `stdin` is what it reads on its standard input.

    Raises:
        GeneratorError: the command is missing or, with `check`, exits with another code than 0.
    """
    done = _run(command, env, account, subprocess.PIPE, subprocess.PIPE, stdin)
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


class Running:
    """A command that runs; `code` is its exit code once it has ended."""

    def __init__(self, child: "subprocess.Popen[bytes]", said: Callable[[str], None]) -> None:
        self._child = child
        self._said = said
        self.code: int | None = None

    def lines(self) -> Iterator[bytes]:
        """Give each line of standard output, with its newline, and wait for the end.

        The lines of standard error go to `said` meanwhile, so that neither stream holds
        up the other.
        """
        output, messages = _Lines(self._child.stdout), _Lines(self._child.stderr)
        with selectors.DefaultSelector() as selector:
            for lines in (output, messages):
                selector.register(lines.descriptor, selectors.EVENT_READ, lines)
            while selector.get_map():
                for key, _ in selector.select():
                    lines = key.data
                    found = lines.read()
                    if lines.ended:
                        selector.unregister(key.fd)
                    if lines is output:
                        yield from found
                        continue
                    for message in found:
                        self._said(message.decode("utf-8", errors="replace").rstrip("\r\n"))
        self.code = self._child.wait()


class _Lines:
    """Splits what comes through a pipe into lines, which may be long."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        self.descriptor = cast(IO[bytes], pipe).fileno()
        self.ended = False
        self._begun: list[bytes] = []

    def read(self) -> list[bytes]:
        """Give the lines that are complete now; at the end also one that is not."""
        data = os.read(self.descriptor, _PIECE_BYTES)
        self.ended = not data
        *lines, rest = data.split(b"\n")
        if lines:
            lines = [line + b"\n" for line in lines]
            lines[0] = b"".join([*self._begun, lines[0]])
            self._begun = []
        self._begun.append(rest)
        if self.ended and any(self._begun):
            lines.append(b"".join(self._begun))
        return lines


@contextmanager
def running(command: Sequence[str], said: Callable[[str], None]) -> Iterator[Running]:
    """Start a command, in our own directory, whose output is read while it runs.

    `said` gets each line of its standard error. Where the context is left before the
    command has ended, it is told to end, and killed if it does not.

    Raises:
        GeneratorError: the command is missing.
    """
    _log.info("%s", shlex.join(command))
    try:
        child = subprocess.Popen(
            command,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise _not_run(command, error) from None
    with child:
        try:
            yield Running(child, said)
        finally:
            if child.poll() is None:
                _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_TERMINATE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _not_run(command: Sequence[str], error: OSError) -> GeneratorError:
    return GeneratorError(f"{command[0]} can't be run: {error.strerror}; install it")


def _run(
    command: Sequence[str],
    env: Mapping[str, str] | None,
    account: Account | None,
    stdout: int,
    stderr: int | None,
    stdin: str = "",
) -> "subprocess.CompletedProcess[str]":
    _log.info("%s", shlex.join(command))
    # Only root may become who it is, too.
    other = None if account and account.uid == os.geteuid() != 0 else account
    try:
        return subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            user=other.uid if other else None,
            group=other.gid if other else None,
            extra_groups=other.groups if other else None,
            cwd="/",
            input=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise _not_run(command, error) from None
