"""What is in the way of `provision` is told, and nothing that failed passes for done."""

from pathlib import Path
from typing import Any

import pytest

from tests.generator.support.private_host import PrivateHost, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def host(tmp_path: Path) -> PrivateHost:
    return PrivateHost(tmp_path)


def models(**changes: Any) -> dict[str, Any]:
    vllm = {"enable": True, "uid": 503, "subUidStart": 300000, "tag": "v1"}
    own = {"models": {"a": {"model": "org/a", "port": 18001}}}
    return {"version": 1, "vllm": vllm | own | changes}


@pytest.mark.parametrize("path", ["/srv/file", "/srv/file/cache", "/srv/file/a/b"])
def test_a_directory_where_a_file_is_in_the_way_is_refused_by_its_option(
    path: str, host: PrivateHost
) -> None:
    host.put("srv/file", "theirs")
    before = host.files()
    done = host.run("provision", config=models(cacheDir=path))
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    (found,) = (line for line in done.stderr.splitlines() if "vllm.cacheDir: " in line)
    assert "/srv/file" in found
    assert "is no directory" in found
    assert host.files() == before


def test_a_directory_that_systemd_tmpfiles_does_not_make_is_no_success(host: PrivateHost) -> None:
    host.put("etc/containers/systemd/users", "a file in the way")
    done = host.run("provision", config=models())
    assert done.returncode == 1, done.stdout
    assert "this host is not set up yet" in done.stderr
    where = "/etc/containers/systemd/users/503/llmhop was not made by systemd-tmpfiles: mkdir"
    assert f"vllm.uid: {where}" in done.stderr
