"""Findings about the user that runs the containers."""

import grp
import pwd
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from llmhop_generator.contract import Vllm
from llmhop_generator.errors import Problem, option_path
from llmhop_generator.subids import read_ranges

HOW = "switch to the NixOS configuration, or run `llmhop-generator provision CONFIG`"
_LINGER = Path("/var/lib/systemd/linger")


def user_findings(vllm: Vllm) -> Iterator[Problem]:
    """Find what of the user is missing or other than the configuration says."""
    try:
        account = pwd.getpwnam(vllm.user)
    except KeyError:
        yield _problem("user", f"{vllm.user} does not exist on this host; {HOW}")
        return
    for key, wanted, found in (
        ("uid", vllm.uid, account.pw_uid),
        ("gid", vllm.gid, account.pw_gid),
    ):
        if wanted != found:
            yield _problem(
                key, f"is {wanted}, but {vllm.user} has {found} on this host; make them agree"
            )
    if (group := _group_name(account.pw_gid)) != vllm.group and account.pw_gid == vllm.gid:
        yield _problem(
            "group", f"is {vllm.group}, but group {vllm.gid} is {group} here; make them agree"
        )
    if not (_LINGER / vllm.user).exists():
        yield _problem("user", f"{vllm.user} does not linger, and would stop with a logout; {HOW}")
    for kind, start, count in (
        ("uid", vllm.sub_uid_start, vllm.sub_uid_count),
        ("gid", vllm.sub_gid_start, vllm.sub_gid_count),
    ):
        yield from _subordinate(vllm, kind, start, count)
        program = f"new{kind}map"
        if shutil.which(program) is None and not Path("/run/wrappers/bin", program).exists():
            yield _problem(
                "user",
                f"{program} is not on this host, and rootless Podman needs it; "
                "install uidmap (Debian) or shadow-utils",
            )


def _problem(key: str, what: str) -> Problem:
    return Problem(option_path(("vllm", key)), what)


def _group_name(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


def _subordinate(vllm: Vllm, kind: str, start: int, count: int) -> Iterator[Problem]:
    path, key = Path(f"/etc/sub{kind}"), f"sub{kind.capitalize()}Start"
    ranges = read_ranges(path)
    own = [each for each in ranges if each.owner in (vllm.user, str(vllm.uid))]
    if not any(each.contains(start, count) for each in own):
        has = next((each.count for each in own if each.start == start), None)
        but = f"but {has}" if has is not None else "none of them"
        yield _problem(
            key, f"{path} does not give {vllm.user} {count} ids from {start} on, {but}; {HOW}"
        )
    for one, other in combinations(own, 2):
        if one.owner == other.owner and one.overlaps(other.start, other.count):
            yield _problem(
                key,
                f"{path} gives {vllm.user} ranges that overlap, {one.shown} and {other.shown}, "
                "and newuidmap maps no id twice; remove one of them",
            )
    for other in ranges:
        if other not in own and other.overlaps(start, count):
            yield _problem(
                key,
                f"the range {start} to {start + count - 1} overlaps {other.shown} of "
                f"{other.owner} in {path}; choose another",
            )
