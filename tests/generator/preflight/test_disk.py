"""On which file system a path lies, as findmnt tells."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.preflight.storage import disk
from llmhop_generator.preflight.storage.disk import _cache_dir, _data_dir, _file_system

from tests.generator.support.contracts import vllm_of


@pytest.mark.parametrize(("path", "kind"), [("/proc/self", "proc"), ("/sys/kernel", "sysfs")])
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert _file_system(path) == kind


@pytest.mark.parametrize("name", ["plain", "with space", "back\\slash", "tab\t", "-x", "ö"])
def test_a_path_of_any_name_is_found_and_what_a_link_leads_to(name: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    directory.mkdir()
    assert _file_system(str(directory)) == _file_system(str(tmp_path)) != ""
    link = tmp_path / "link"
    link.symlink_to("/proc/self")
    assert _file_system(f"{link}/") == "proc"


def test_the_upper_of_stacked_file_systems_counts(tmp_path: Path) -> None:
    """As of one that is mounted when somebody looks into it, by autofs."""
    asks = "from llmhop_generator.preflight.storage.disk import _file_system as ask; import sys;"
    ask = f"{sys.executable} -c '{asks} print(ask(sys.argv[1]))' {tmp_path}"
    mounts = f"mount -t tmpfs none {tmp_path} && mount -t ramfs none {tmp_path} && {ask}"
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", mounts]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "ramfs\n"


def vllm(**changes: Any) -> Any:
    volumes = {"Volume": ["/models:/models:ro"]}
    name = {"model": "org/a", "port": 18001, "containerConfig": volumes, **changes}
    whole = {"enable": True, "uid": 503, "subUidStart": 300000, "tag": "v1", "models": {"a": name}}
    return vllm_of({"version": 1, "vllm": whole})


def test_a_file_system_that_is_not_told_is_one_problem_and_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_path: str) -> str:
        raise GeneratorError("findmnt can't be run")

    monkeypatch.setattr(disk, "_file_system", fail)
    monkeypatch.setattr(disk, "_free", lambda _: 0)
    told = [problem.what for problem in _data_dir(vllm(), 1)]
    assert told[0] == "findmnt can't be run"
    assert "needs" in told[1]


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({}, True),
        ({"model": "org/" + "n" * 300}, False),  # no name of a file: nothing can be told
        ({"settings": {"download-dir": "/models"}}, False),
        ({"environment": {"HF_HUB_CACHE": "/models"}}, False),
        ({"model": "/models/a"}, False),
    ],
    ids=["absent", "long", "by a flag", "by a variable", "a path"],
)
def test_a_full_cache_is_told_only_where_something_goes_into_it(
    changes: dict[str, Any], is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub").mkdir()
    of = vllm(**changes).model_copy(update={"cache_dir": str(tmp_path)})
    monkeypatch.setattr(disk, "_free", lambda _: 0)
    assert bool(list(_cache_dir(of))) is is_told
    monkeypatch.setattr(disk, "_free", lambda _: disk.NEEDED_TO_RUN)
    assert not list(_cache_dir(of))
