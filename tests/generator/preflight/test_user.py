"""What a host says of the user that runs the containers, without a host."""

import grp
import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmhop_generator.host.subids import Range, is_given, ranges_of, read_ranges
from llmhop_generator.preflight import user as host_user
from llmhop_generator.preflight.storage import disk
from llmhop_generator.preflight.storage.directories import directory_conflicts, directory_findings
from llmhop_generator.preflight.storage.environment_files import environment_file_findings

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import vllm_of


class Host:
    """A host whose user is just what the smallest configuration asks for, to be changed."""

    def __init__(self, patch: pytest.MonkeyPatch, home: Path, linger: Path) -> None:
        self.home, self.gid, self.group = str(home), 503, "vllm"
        self.ranges = {"subuid": "vllm:300000:65536", "subgid": "vllm:300000:65536"}
        self.vllm: dict[str, Any] = {"dataDir": str(home), "cacheDir": str(home / "cache")}
        patch.setattr(pwd, "getpwnam", lambda name: self._account(name))
        patch.setattr(grp, "getgrgid", lambda gid: self._group(gid))
        patch.setattr(host_user, "read_ranges", lambda path: self._ranges(linger, path))
        patch.setattr(disk, "NEEDED_TO_RUN", 0)
        patch.setattr(disk, "_file_system", lambda path: "ext4")
        patch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    def _account(self, name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", 503, self.gid, "", self.home, "/bin/sh"))

    def _group(self, gid: int) -> grp.struct_group:
        if gid != self.gid:
            raise KeyError(gid)
        return grp.struct_group((self.group, "x", gid, []))

    def _ranges(self, directory: Path, path: Path) -> list[Range]:
        file = directory / path.name
        file.write_text(self.ranges[path.name])
        return read_ranges(file)

    def findings(self) -> list[str]:
        config = json.loads(json.dumps(MINIMAL))
        config["vllm"] |= self.vllm
        vllm = vllm_of(config)
        found = [
            *host_user.user_findings(vllm),
            *directory_findings(vllm, None),
            *environment_file_findings(vllm, None),
            *disk.disk_findings(vllm, lacks_image=False),
        ]
        return [str(each).removeprefix("services.llmhop.vllm.") for each in found]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    home, linger = tmp_path / "home", tmp_path / "linger"
    (home / "cache").mkdir(parents=True)
    linger.mkdir()
    return Host(monkeypatch, home, linger)


def test_a_user_that_is_what_was_asked_for_is_let_through(host: Host) -> None:
    assert host.findings() == []


@pytest.mark.parametrize(
    "ranges",
    [
        "vllm:290000:100000",
        "503:300000:65536",
        "vllm:200000:1000\nvllm:300000:65536\nvllm:400000:1",
        "vllm:234464:131072",
        "vllm:340000:25536\nvllm:300000:40000",
        "other:234464:65536\nvllm:300000:65536\nother:365536:1",
        "vllm:300000:65536\n503:300000:65536",
    ],
)
def test_ranges_that_contain_the_one_are_let_through(host: Host, ranges: str) -> None:
    host.ranges = {"subuid": ranges, "subgid": ranges}
    assert host.findings() == []


@pytest.mark.parametrize("kind", ["Uid", "Gid"])
@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ("", "none of them"),
        ("vllm:300000:65535", "but 65535"),
        ("vllm:300001:65536", "none of them"),
        ("other:300000:65536", "none of them"),
        ("vllm:300000:40000\nvllm:340001:25536", "but 40000"),
        ("vllm:200000:100001\nvllm:300000:65536", "200000 to 300000 and 300000 to 365535"),
        ("vllm:300000:65536\nother:365535:9", "365535 to 365543 of other"),
    ],
)
def test_ranges_with_which_podman_can_not_give_the_ids_are_told(
    host: Host, kind: str, ranges: str, told: str
) -> None:
    host.ranges[f"sub{kind.lower()}"] = ranges
    found = host.findings()
    assert found
    assert all(each.startswith(f"sub{kind}Start: ") for each in found)
    assert told in found[-1] or told in found[0]


def test_another_home_than_data_dir_is_told(host: Host, tmp_path: Path) -> None:
    host.vllm["dataDir"] = str(tmp_path)
    (told,) = host.findings()
    assert told.startswith(f"dataDir: is {tmp_path}, but the home of vllm")
    assert told.endswith(f"is {host.home}; make them agree")


def test_a_home_that_is_spelled_otherwise_is_the_same(host: Host) -> None:
    host.vllm["dataDir"] = f"{host.home}//./"
    assert host.findings() == []


def conflicts(host: Host) -> list[str]:
    vllm = vllm_of({**MINIMAL, "vllm": MINIMAL["vllm"] | host.vllm})
    found = [*host_user.user_conflicts(vllm), *directory_conflicts(vllm)]
    return [str(each).removeprefix("services.llmhop.vllm.") for each in found]


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ("", None),
        ("vllm:290000:100000", None),
        ("vllm:340000:25536\nvllm:300000:40000", None),
        ("vllm:200000:65536\nother:365536:1", None),
        ("vllm:300000:1000", "the range from 300000 on would overlap 300000 to 300999 of vllm"),
        ("other:310000:10", "the range 300000 to 365535 overlaps 310000 to 310009 of other"),
        ("vllm:1:9\nvllm:2:9", "/etc/subgid gives vllm ranges that overlap, 1 to 9 and 2 to 10"),
    ],
)
def test_ranges_that_no_further_one_can_mend(host: Host, ranges: str, told: str | None) -> None:
    host.ranges["subgid"] = ranges
    host.vllm = {"dataDir": "/nowhere", "cacheDir": "/nowhere/cache"}
    found = conflicts(host)
    assert [each.startswith(f"subGidStart: {told}") for each in found] == [True] * bool(told)


def test_ids_that_others_have_before_the_user_is_made(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Any:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", absent)
    monkeypatch.setattr(pwd, "getpwuid", absent)
    monkeypatch.setattr(grp, "getgrnam", absent)
    host.ranges = {"subuid": "", "subgid": ""}
    host.vllm = {"dataDir": "/nowhere", "cacheDir": "/nowhere/cache"}
    assert conflicts(host) == []
    host.group = "staff"
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: host._account("bob"))
    assert conflicts(host) == [
        "uid: 503 is bob's on this host; choose another",
        "group: is vllm, but group 503 is staff here; make them agree",
    ]
    host.gid = 600
    monkeypatch.setattr(grp, "getgrnam", lambda name: host._group(600))
    assert conflicts(host)[1] == (
        "gid: is 503, but group vllm has 600 on this host; make them agree"
    )


def test_what_is_empty_is_roots_to_give_and_nobody_elses(host: Host, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if os.geteuid() == 0:
        os.chown(theirs, 1, 1)
    host.vllm = {"dataDir": "/nowhere", "cacheDir": str(theirs)}
    (told,) = conflicts(host)
    assert told.startswith(f"cacheDir: {theirs} is there and belongs to ")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives directories to others")
@pytest.mark.parametrize(
    ("owners", "refused"),
    [
        ({"a": 1}, False),
        ({"a": 1, "a/b": 1}, True),
        ({"a": 1, "a/b": 1, "a/b/c": 1}, False),
        ({"a": 1, "a/b": 0, "a/b/c": 0}, True),
        ({"a": 1, "a/b": 1, "a/b/c": 2}, True),
        ({"a": 1, "a/b": 1, "a/b/c": 503}, True),
        ({"a": 0, "a/b": 1, "a/b/c": 1}, False),
        ({"a": 0, "a/b": 0}, False),
        ({"a": 1, "a/b": 1, "a/b/c": 1, "a/b/c/hf": 503}, False),
        ({"a": 1, "a/b": 2, "a/b/c": 0, "a/b/c/hf": 503}, False),
        ({"a": 1, "a/b": 1, "a/b/c": 1, "a/b/c/hf": 0}, False),
        ({"a": 1, "a/b": 2, "a/b/c": 2, "a/b/c/hf": 0}, True),
    ],
)
def test_a_directory_is_refused_only_where_systemd_tmpfiles_would_not_make_it(
    host: Host, tmp_path: Path, owners: dict[str, int], refused: bool
) -> None:
    for name, uid in owners.items():
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, uid, uid)
    depth = max(map(len, owners))
    path = tmp_path / ("a/hf" if depth == 1 else "a/b/c/hf")
    made = path.exists() and path.stat().st_uid == 503
    host.vllm = {"dataDir": "/nowhere", "cacheDir": str(path)}
    told = conflicts(host)
    assert [each.startswith(f"cacheDir: {path} is in {tmp_path}/a/") for each in told] == (
        [True] * refused
    )
    # What tmpfiles says itself, but of what is there, which it need not be asked for.
    rules = tmp_path / "rules"
    rules.write_text(f"d /{path.relative_to(tmp_path)} 0750 503 503 -\n")
    command = ["systemd-tmpfiles", f"--root={tmp_path}", "--create", str(rules)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made or (done.returncode != 0) is refused, done


def test_a_directory_that_is_closed_to_who_asks_is_not_taken_for_empty(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> Any:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    host.vllm = {"dataDir": "/nowhere", "cacheDir": "/etc/ssl"}  # root's, wherever tests run
    (told,) = conflicts(host)
    assert told.startswith("cacheDir: /etc/ssl is there and belongs to ")


def test_a_directory_of_anybody_elses_is_told(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.vllm = {"dataDir": "/nowhere", "cacheDir": str(tmp_path / "a b")}
    (tmp_path / "a b" / "theirs").mkdir(parents=True)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: host._account("bob"))
    assert conflicts(host) == [
        f"cacheDir: {tmp_path}/a b is there and belongs to bob, not to vllm; choose another, or, "
        f"where nobody else uses it, `chown 503:503 '{tmp_path}/a b'`"
    ]


def test_another_group_is_told_by_what_is_other(host: Host) -> None:
    host.group = "staff"
    assert host.findings() == ["group: is vllm, but group 503 is staff here; make them agree"]
    host.gid = 600
    (told,) = host.findings()
    assert told.startswith("gid: is 503, but vllm has 600")


_RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=5)


@given(_RANGES, st.integers(0, 30), st.integers(1, 30))
def test_ranges_give_what_all_of_their_ids_say(
    given_ranges: list[tuple[int, int]], wanted: int, length: int
) -> None:
    ranges = [Range("x", start, count) for start, count in given_ranges]
    ids = {each for start, count in given_ranges for each in range(start, start + count)}
    others = {*range(wanted, wanted + length)}
    assert is_given(ranges, wanted, length) is (others <= ids)
    assert any(each.overlaps(wanted, length) for each in ranges) is bool(others & ids)


@pytest.mark.parametrize("first", [300000, 365535])
def test_a_range_in_which_this_host_has_a_user_or_a_group_is_told(
    host: Host, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    bob = pwd.struct_passwd(("bob", "x", first, 100, "", "/", "/bin/sh"))
    staff = grp.struct_group(("staff", "x", first, []))
    monkeypatch.setattr(pwd, "getpwall", lambda: [bob])
    monkeypatch.setattr(grp, "getgrall", lambda: [staff])
    assert host.findings() == [
        f"subUidStart: the range 300000 to 365535 contains uid {first} of bob on this host; "
        "choose another",
        f"subGidStart: the range 300000 to 365535 contains gid {first} of staff on this host; "
        "choose another",
    ]
    host.vllm = {"dataDir": "/nowhere", "cacheDir": "/nowhere/cache"}
    assert len(conflicts(host)) == 2
    first_free = {"subUidStart": 365536, "subGidStart": 365536}
    host.ranges = {"subuid": "vllm:365536:65536", "subgid": "vllm:365536:65536"}
    host.vllm |= first_free
    assert conflicts(host) == []


def test_the_ranges_of_a_user_stand_by_its_name_and_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("a:100:10\nvllm:100:1\nx\n503:200:50\nvllm:b:1\n5030:1:1\n")
    assert ranges_of(file, "vllm", 503) == [Range("vllm", 100, 1), Range("503", 200, 50)]
    assert ranges_of(tmp_path / "none", "vllm", 503) == []


@pytest.mark.parametrize(("user", "hint"), [("m7", "make it yourself"), ("vllm", "run `llmhop")])
def test_a_user_that_does_not_exist_is_made_by_provision_or_by_who_wants_it(
    user: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_user, "find_account", lambda _: None)
    config = json.loads(json.dumps(MINIMAL))
    config["vllm"]["user"] = user
    (found,) = host_user.user_findings(vllm_of(config))
    assert f"{user} does not exist on this host; {hint}" in str(found)
