"""Paths of the host that containerConfig names: each that is missing is told by its option."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from llmhop_generator.host.process import Account
from llmhop_generator.preflight.paths import path_findings
from llmhop_generator.preflight.storage.directories import directory_findings
from llmhop_generator.preflight.storage.environment_files import environment_file_findings

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import vllm_of

VLLM = "services.llmhop.vllm"
MODEL = f"{VLLM}.models.qwen2-5-7b.containerConfig"


def findings(general: Any = None, own: Any = None, **options: Any) -> list[str]:
    config = json.loads(json.dumps(MINIMAL))
    config["vllm"] |= {"containerConfig": general or {}, **options}
    config["vllm"]["models"]["qwen2-5-7b"]["containerConfig"] = own or {}
    return [str(problem) for problem in path_findings(vllm_of(config), None)]


# A key, with PATH for a path of the host.
KEYS = [
    ("Volume", "PATH:/models:ro"),
    ("Volume", "PATH:/models"),
    ("Mount", "type=bind,source=PATH,target=/models"),
    ("Mount", "type=bind,src=PATH,dst=/models,ro"),
    ("AddDevice", "PATH:/dev/x:rw"),
    ("AddDevice", "/dev/null PATH"),
    ("SeccompProfile", "PATH"),
    ("PodmanArgs", "--init -v PATH:/models"),
    ("PodmanArgs", "--volume=PATH:/models --init"),
    ("PodmanArgs", "-vPATH:/models"),
    ("PodmanArgs", "--mount type=bind,src=PATH,dst=/models"),
    ("PodmanArgs", "--device PATH"),
]


@pytest.mark.parametrize(("key", "value"), KEYS)
def test_a_path_that_is_missing_is_told_by_its_option(key: str, value: str, tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    keys = {key: value.replace("PATH", path)}
    missing = f"{path} does not exist on this host, and Podman does not make it; make it first"
    assert findings(own=keys) == [f"{MODEL}.{key}: {missing}"]
    assert findings(keys) == [f"{VLLM}.containerConfig.{key}: {missing}"]
    (tmp_path / "x").mkdir()
    assert findings(own=keys) == []


def test_each_line_of_a_list_has_its_place(tmp_path: Path) -> None:
    missing = [f"{tmp_path}/{name}:/{name}" for name in "abc"]
    (tmp_path / "b").touch()
    where = [line.partition(": ")[0] for line in findings({"Volume": missing})]
    assert where == [f"{VLLM}.containerConfig.Volume[{i}]" for i in (0, 2)]
    lines = [missing[0], "", missing[2]]
    where = [line.partition(": ")[0] for line in findings({"Volume": lines})]
    assert where == [f"{VLLM}.containerConfig.Volume[2]"]


NAMED_BY_NOTHING = [
    {"Volume": "models:/models"},
    {"Volume": "models.volume:/models"},
    {"Volume": "/models"},
    {"Volume": "%E/nowhere:/models"},
    {"Volume": []},
    {"Mount": "type=volume,source=/nowhere,target=/models"},
    {"Mount": "type=tmpfs,dst=/nowhere"},
    {"AddDevice": ["-/dev/nowhere", "nvidia.com/gpu=all"]},
    {"SeccompProfile": "unconfined"},
    {"PodmanArgs": "--device=nvidia.com/gpu=all -v models:/models --mount type=tmpfs,dst=/x"},
    {"PodmanArgs": "--label=/nowhere:/x -e A=/nowhere"},
    {"Environment": "A=/nowhere"},
    {
        "PidsLimit": 4096,
        "RunInit": True,
        "Volume": "/5",
        "PodmanArgs": ["--memory", 1],
        "Label": 0.5,
    },
]


@pytest.mark.parametrize("keys", NAMED_BY_NOTHING, ids=str)
def test_what_is_no_path_of_the_host_is_let_through(keys: dict[str, Any]) -> None:
    assert findings(keys) == []


def test_what_a_model_sets_itself_is_what_counts(tmp_path: Path) -> None:
    assert findings({"Volume": "/nowhere:/a"}, {"Volume": f"{tmp_path}:/a"}) == []
    assert findings({"Volume": "/nowhere:/a"}, {"Volume": []}) == []


def test_a_model_that_is_off_needs_nothing() -> None:
    models = MINIMAL["vllm"]["models"] | {
        "off": {"model": "m", "port": 1, "enable": False, "containerConfig": {"Volume": "/no:/a"}}
    }
    config = {**MINIMAL, "vllm": {**MINIMAL["vllm"], "models": models}}
    assert list(path_findings(vllm_of(config), None)) == []


def test_home_and_runtime_directory_are_known(tmp_path: Path) -> None:
    keys = {"Volume": ["%h/models:/models", "%t/nowhere:/x", "./beside:/y"]}
    found = [line.split()[1] for line in findings(keys, dataDir=str(tmp_path))]
    assert found == [
        f"{tmp_path}/models",
        "/run/user/503/nowhere",
        "/etc/containers/systemd/users/503/llmhop/beside",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="to look as another user needs root")
def test_a_path_that_its_user_can_not_reach_is_told(tmp_path: Path) -> None:
    config = json.loads(json.dumps(MINIMAL))
    (tmp_path / "models").mkdir()
    config["vllm"]["containerConfig"] = {"Volume": [f"{tmp_path}/models:/a", "/nowhere:/b"]}
    tmp_path.chmod(0o700)
    account = Account(65534, 65534)
    closed, missing = map(str, path_findings(vllm_of(config), account))
    assert f"{tmp_path}/models is below /" in closed
    assert "which the models' user can't pass" in closed
    assert "/nowhere does not exist on this host" in missing


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody can reach, as tmp_path is not."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


# Keys beside a volume of a directory, and whether it is told that the user can't read it.
READERS: list[tuple[dict[str, Any], bool]] = [
    ({"Volume": "PATH:/models:ro"}, True),
    ({"Mount": "type=bind,src=PATH,dst=/models"}, True),
    ({"PodmanArgs": "-v PATH:/models"}, True),
    ({"Volume": "PATH:/models", "GroupAdd": "keep-groups"}, True),
    ({"Volume": "PATH:/models:U"}, False),
    ({"Volume": "PATH:/models:ro,idmap"}, False),
    ({"Volume": "PATH:/models", "User": 1000}, False),
    ({"Volume": "PATH:/models", "UserNS": "keep-id:uid=1000"}, False),
    ({"Volume": "PATH:/models", "PodmanArgs": "--user 1000"}, False),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="to look as another user needs root")
@pytest.mark.parametrize(("keys", "told"), READERS, ids=str)
@pytest.mark.parametrize("mode", [0o700, 0o744, 0o711])
def test_a_directory_that_its_user_can_not_read_is_told(
    keys: dict[str, Any], told: bool, mode: int, open_directory: Path
) -> None:
    """As one that a rule of tmpfiles gives to somebody else."""
    (models := open_directory / "models").mkdir()
    config = json.loads(json.dumps(MINIMAL))
    config["vllm"]["containerConfig"] = {
        key: value.replace("PATH", str(models)) if isinstance(value, str) else value
        for key, value in keys.items()
    }
    account = Account(65534, 65534)
    assert list(path_findings(vllm_of(config), account)) == []
    models.chmod(mode)
    found = [str(problem) for problem in path_findings(vllm_of(config), account)]
    what = "can't be read by vllm, who root in the container is; let that user read it"
    assert [text.partition(": ")[2] for text in found] == [f"{models} {what}"] * told
    config["vllm"]["image"] = "example.org/other"
    assert list(path_findings(vllm_of(config), account)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="to look as another user needs root")
def test_a_directory_above_that_its_user_can_not_pass_is_told(open_directory: Path) -> None:
    (home := open_directory / "home").mkdir(mode=0o700)
    (models := home / "models").mkdir()
    (env := home / "a.env").write_text("A=1\n")
    config = json.loads(json.dumps(MINIMAL))
    config["vllm"] |= {"cacheDir": str(models), "environmentFile": str(env)}
    config["vllm"]["containerConfig"] = {"Volume": f"{models}:/models"}
    vllm, account = vllm_of(config), Account(65534, 65534)
    found = [
        *environment_file_findings(vllm, account),
        *path_findings(vllm, account),
        *directory_findings(vllm, account),
    ]
    told = [str(each) for each in found if str(home) in str(each)]
    what = f"is below {home}, which the models' user can't pass"
    for where, path in (
        ("environmentFile", env),
        ("containerConfig.Volume", models),
        ("cacheDir", models),
    ):
        (one,) = (each for each in told if f".{where}: " in each)
        assert f"{path} {what}" in one
        assert f"`chmod o+x {home}`" in one
