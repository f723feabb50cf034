"""Findings about the directories of the models: whose they are, and who may write them."""

import os
import pwd
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from llmhop_generator.contract.options import Vllm
from llmhop_generator.errors import Finding
from llmhop_generator.errors import Path as OptionPath
from llmhop_generator.host.process import Account
from llmhop_generator.preflight.boot import PROVISION_HINT
from llmhop_generator.preflight.storage.access import access_findings
from llmhop_generator.preflight.user import find_account


def directory_findings(vllm: Vllm, account: Account | None) -> Iterator[Finding]:
    """Find directories that the user can't write; `account` is None where it does not exist."""
    tests: list[tuple[str, str, Finding]] = []
    for where, path in _directories(vllm):
        if not Path(path).is_dir():
            yield Finding.at(where, f"{path} is not a directory on this host; {PROVISION_HINT}")
            continue
        advice = f"{path} can't be written by {vllm.user}; give it to that user"
        tests.append(("-w", path, Finding.at(where, advice)))
    if account is not None:
        yield from access_findings(account, tests)
    if Path(vllm.data_dir).is_dir():
        yield from home_findings(vllm)


def directory_conflicts(vllm: Vllm) -> Iterator[Finding]:
    """Find what others have there: `provision`, or a switch of NixOS, would give it to the user.

    systemd-tmpfiles does. What is empty and root's is nobody's yet, such as a disk that is mounted.
    What is there and the user's stays as it is, wherever it is.
    """
    account = find_account(vllm.user)
    ours = {vllm.uid} if account is None else {vllm.uid, account.pw_uid}
    for where, path in _directories(vllm):
        file = next(
            (each for each in (Path(path), *Path(path).parents) if _owner(each) is not None), None
        )
        if file is not None and not file.is_dir():
            place = path if str(file) == path else f"{path} is below {file}, which"
            yield Finding.at(where, f"{place} is no directory; choose another, or remove that file")
            continue
        uid = _owner(Path(path))
        if uid is not None and uid not in ours and not (uid == 0 and _is_empty(Path(path))):
            owner = f"{vllm.uid}:{vllm.gid} {shlex.quote(path)}"
            yield Finding.at(
                where,
                f"{path} is there and belongs to {_user_name(uid)}, not to {vllm.user}; choose "
                f"another, or, where nobody else uses it, `chown {owner}`",
            )
        elif uid not in ours and (step := _unsafe_step(Path(path), ours)) is not None:
            above, below = step
            whose = _user_name(_owner(above))
            yield Finding.at(
                where,
                f"{path} is in {below}, which is not {whose}'s as {above} is, and systemd-tmpfiles "
                f"goes no such way; choose another, or make {path} and give it to {vllm.user}",
            )


def home_findings(vllm: Vllm) -> Iterator[Finding]:
    """Find a home of the user, if it exists, that is not the directory of its data."""
    account = find_account(vllm.user)
    if account is None:
        return
    home = account.pw_dir
    if os.path.normpath(home) != os.path.normpath(vllm.data_dir):
        yield Finding.at(
            ("vllm", "dataDir"),
            f"is {vllm.data_dir}, but the home of {vllm.user}, below which Podman keeps its "
            f"storage, is {home}; make them agree",
        )


def _directories(vllm: Vllm) -> Iterator[tuple[OptionPath, str]]:
    yield ("vllm", "cacheDir"), vllm.cache_dir
    yield ("vllm", "dataDir"), vllm.data_dir


def _unsafe_step(path: Path, ours: set[int]) -> tuple[Path, Path] | None:
    """A directory above a path that is somebody's, and the one in it that is somebody else's.

    systemd-tmpfiles opens what a directory is made in only where no user but root, or the one whose
    each further step is, could have put another in its place (unsafe_transition in systemd's
    basic/chase.c). The directory itself may be in one that is another user's.
    """
    for above, below in pairwise(reversed(path.parents)):
        if (owner := _owner(above)) in {None, 0, *ours}:
            continue
        try:
            further = below.stat().st_uid
        except FileNotFoundError:
            further = 0  # made as root
        except OSError:  # not readable for an ordinary user who asks what `provision` would do
            continue
        if further != owner:
            return above, below
    return None


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _is_empty(path: Path) -> bool:
    """Whether a directory is seen to have nothing in it but what a new file system has."""
    try:
        return path.is_dir() and all(each.name == "lost+found" for each in path.iterdir())
    except OSError:  # not readable for an ordinary user who asks what `provision` would do
        return False


def _user_name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(-1 if uid is None else uid).pw_name
    except KeyError:
        return f"uid {uid}"
