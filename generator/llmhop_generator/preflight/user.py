"""Findings about the user that runs the containers."""

import grp
import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from llmhop_generator.contract.options import Vllm
from llmhop_generator.errors import Finding
from llmhop_generator.host.subids import Range, is_given, read_ranges
from llmhop_generator.preflight.boot import IS_NIXOS, PROVISION_HINT
from llmhop_generator.render.host_tree import OWN_USER


def user_findings(vllm: Vllm) -> Iterator[Finding]:
    """Find what of the user is missing or other than the configuration says."""
    account = find_account(vllm.user)
    if account is None:
        is_made = IS_NIXOS or vllm.user == OWN_USER
        hint = PROVISION_HINT if is_made else f"make it yourself: `provision` makes only {OWN_USER}"
        yield _problem("user", f"{vllm.user} does not exist on this host; {hint}")
        return
    yield from _other_ids(vllm, account)
    for ids in _subordinate_ids(vllm):
        yield from ids.missing()
        yield from ids.overlaps()
        yield from ids.accounts()
        program = f"new{ids.kind}map"
        if shutil.which(program) is None and not Path("/run/wrappers/bin", program).exists():
            yield _problem(
                "user",
                f"{program} is not on this host, and rootless Podman needs it; "
                "install uidmap (Debian) or shadow-utils",
            )


def user_conflicts(vllm: Vllm) -> Iterator[Finding]:
    """Find what keeps `provision` from making the user, or from giving it its ids."""
    account = find_account(vllm.user)
    yield from _taken_ids(vllm) if account is None else _other_ids(vllm, account)
    for ids in _subordinate_ids(vllm):
        yield from ids.overlaps()
        yield from ids.accounts()
        yield from ids.overlaps_to_be()


def kept_ids(vllm: Vllm) -> Iterator[Finding]:
    """Find other ids of the user and its group, and others who have those that are declared.

    NixOS leaves ids that are there as they are, only warns, and gives a declared one whoever has
    it (nixos/modules/config/update-users-groups.pl). The models would be left to an id that nobody
    has, or be somebody else. Who had the models' home under another name is no other: the build
    refuses two users of one home, so that this switch takes the old name away first.
    """
    account = find_account(vllm.user)
    uid = None if account is None else account.pw_uid
    for key, wanted, found, name in (
        ("uid", vllm.uid, uid, f"user {vllm.user}"),
        ("gid", vllm.gid, _group_id(vllm.group), f"group {vllm.group}"),
    ):
        if found not in (None, wanted):
            yield _problem(
                key,
                f"is {wanted}, but the {name} has {found} on this host, and NixOS changes no {key} "
                f"of what is there; set it to {found}, or switch to a configuration without that "
                f"{name.split()[0]} first (services.llmhop.vllm.enable = false), give what it owns "
                f"to {wanted} ({vllm.data_dir}, {vllm.cache_dir}), and switch to this one then",
            )
    for key, wanted, name, holder, renamed in (
        ("uid", vllm.uid, vllm.user, _user_name(vllm.uid), _former_users(vllm)),
        ("gid", vllm.gid, vllm.group, _group_name(vllm.gid), _former_groups(vllm)),
    ):
        if holder not in {None, name, *renamed}:
            yield _problem(
                key,
                f"{wanted} is {holder}'s on this host; choose another, or switch to a "
                f"configuration without {holder} and without the models first",
            )


def _former_users(vllm: Vllm) -> set[str]:
    """The users whose home is the models' and that NixOS made, which it takes away again."""
    home = os.path.normpath(vllm.data_dir)
    homes = {each.pw_name for each in pwd.getpwall() if os.path.normpath(each.pw_dir) == home}
    return homes & _declared("users")


def _former_groups(vllm: Vllm) -> set[str]:
    """The groups of those users that NixOS made."""
    users = _former_users(vllm)
    gids = {each.pw_gid for each in pwd.getpwall() if each.pw_name in users}
    return {each.gr_name for each in grp.getgrall() if each.gr_gid in gids} & _declared("groups")


def _declared(kind: str) -> set[str]:
    """The names that NixOS declared at the last switch, as update-users-groups.pl keeps them."""
    try:
        return {*Path(f"/var/lib/nixos/declarative-{kind}").read_text("utf-8").split()}
    except (OSError, UnicodeDecodeError):
        return set()


def find_account(user: str) -> pwd.struct_passwd | None:
    """The account of a user, or None where there is none."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def _taken_ids(vllm: Vllm) -> Iterator[Finding]:
    """Find ids that others have: systemd-sysusers would give other ones, without a word."""
    with suppress(KeyError):
        other = pwd.getpwuid(vllm.uid).pw_name
        yield _problem("uid", f"{vllm.uid} is {other}'s on this host; choose another")
    if (gid := _group_id(vllm.group)) not in (None, vllm.gid):
        what = f"is {vllm.gid}, but group {vllm.group} has {gid} on this host; make them agree"
        yield _problem("gid", what)
    if _group_name(vllm.gid) is not None:
        yield from _other_group(vllm)


def _other_ids(vllm: Vllm, account: pwd.struct_passwd) -> Iterator[Finding]:
    for key, wanted, found in (
        ("uid", vllm.uid, account.pw_uid),
        ("gid", vllm.gid, account.pw_gid),
    ):
        if wanted != found:
            yield _problem(
                key, f"is {wanted}, but {vllm.user} has {found} on this host; make them agree"
            )
    if account.pw_gid == vllm.gid:
        yield from _other_group(vllm)


def _other_group(vllm: Vllm) -> Iterator[Finding]:
    if (group := _group_name(vllm.gid)) != vllm.group:
        yield _problem(
            "group", f"is {vllm.group}, but group {vllm.gid} is {group} here; make them agree"
        )


def _problem(key: str, what: str) -> Finding:
    return Finding.at(("vllm", key), what)


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _group_name(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


@dataclass(frozen=True)
class _SubordinateIds:
    """The ids of a kind that the user needs, and the ranges that the host's file gives."""

    kind: str
    user: str
    wanted: Range
    path: Path
    own: list[Range]
    others: list[Range]

    def missing(self) -> Iterator[Finding]:
        if self._is_given():
            return
        start, count = self.wanted.start, self.wanted.count
        has = next((each.count for each in self.own if each.start == start), None)
        but = f"but {has}" if has is not None else "none of them"
        yield self._problem(
            f"{self.path} does not give {self.user} {count} ids from {start} on, {but}; "
            f"{PROVISION_HINT}"
        )

    def overlaps(self) -> Iterator[Finding]:
        for one, other in combinations(self.own, 2):
            if one.owner == other.owner and one.overlaps(other.start, other.count):
                yield self._problem(
                    f"{self.path} gives {self.user} ranges that overlap, {one.shown} and "
                    f"{other.shown}, and newuidmap maps no id twice; remove one of them"
                )
        for other in self.others:
            if other.overlaps(self.wanted.start, self.wanted.count):
                yield self._problem(
                    f"the range {self.wanted.shown} overlaps {other.shown} of "
                    f"{other.owner} in {self.path}; choose another"
                )

    def accounts(self) -> Iterator[Finding]:
        """Find users or groups that have one of the ids, and could read what a container has."""
        for name, number in _accounts(self.kind):
            if self.wanted.overlaps(number, 1):
                yield self._problem(
                    f"the range {self.wanted.shown} contains {self.kind} {number} of {name} on "
                    "this host; choose another"
                )

    def overlaps_to_be(self) -> Iterator[Finding]:
        """Find ranges of the user's own that overlap the one that it is to be given."""
        if self._is_given():
            return
        for each in self.own:
            if each.overlaps(self.wanted.start, self.wanted.count):
                yield self._problem(
                    f"the range from {self.wanted.start} on would overlap {each.shown} of "
                    f"{each.owner} in {self.path}, and Podman starts with no two ranges that do; "
                    "remove that line"
                )

    def _is_given(self) -> bool:
        return is_given(self.own, self.wanted.start, self.wanted.count)

    def _problem(self, what: str) -> Finding:
        return _problem(f"sub{self.kind.capitalize()}Start", what)


def _accounts(kind: str) -> Iterator[tuple[str, int]]:
    """The users or groups of this host, as far as it lists them, and their ids."""
    if kind == "uid":
        yield from ((each.pw_name, each.pw_uid) for each in pwd.getpwall())
    else:
        yield from ((each.gr_name, each.gr_gid) for each in grp.getgrall())


def _subordinate_ids(vllm: Vllm) -> Iterator[_SubordinateIds]:
    for kind, start, count in (
        ("uid", vllm.sub_uid_start, vllm.sub_uid_count),
        ("gid", vllm.sub_gid_start, vllm.sub_gid_count),
    ):
        path = Path(f"/etc/sub{kind}")
        ranges = read_ranges(path)
        own = [each for each in ranges if each.owner in (vllm.user, str(vllm.uid))]
        others = [each for each in ranges if each not in own]
        yield _SubordinateIds(kind, vllm.user, Range(vllm.user, start, count), path, own, others)
