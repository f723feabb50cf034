"""Devices that a host lacks are found, and what this can't see for sure is a warning."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.preflight import devices as host_devices

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import vllm_of

SPEC = "kind: nvidia.com/gpu\ndevices: [{name: '0'}, {name: all}]\n"
WHERE = "services.llmhop.vllm.devices[0]"


class Host:
    """A host whose containers.conf is a file of the test's, and the home of its user."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.specs = directory / "cdi"
        self.configuration = directory / "containers.conf"
        self.specs.mkdir()
        self.configuration.write_text(f"[engine]\ncdi_spec_dirs = ['{self.specs}']\n")

    def findings(self, *devices: str, **vllm: Any) -> list[str]:
        config = json.loads(json.dumps(MINIMAL))
        config["vllm"] |= {"devices": devices, "dataDir": str(self.home), **vllm}
        return list(map(str, host_devices.device_findings(vllm_of(config))))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    own = [path for path in host_devices._CONFIGURATIONS if path.startswith("~/")]
    monkeypatch.setattr(host_devices, "_CONFIGURATIONS", (str(host.configuration), *own))
    return host


def test_a_device_that_is_defined_is_no_finding(host: Host) -> None:
    (host.specs / "nvidia.yaml").write_text(SPEC)
    assert host.findings("nvidia.com/gpu=all", "/dev/null", "-nvidia.com/gpu=9") == []


def test_a_device_that_is_not_defined_is_told_with_the_nearest(host: Host) -> None:
    (host.specs / "nvidia.yaml").write_text(SPEC)
    [finding] = host.findings("nvidia.com/gpu=O")
    assert finding.startswith(f"{WHERE}: no specification in {host.specs} defines nvidia.com/gpu=O")
    assert "nearest: nvidia.com/gpu=0" in finding


@pytest.mark.parametrize(
    "keys",
    [
        {"AddDevice": ["nvidia.com/gpu=0", "nvidia.com/gpu=O -nvidia.com/gpu=9"]},
        {"AddDevice": ["nvidia.com/gpu=9", "", '"nvidia.com/gpu=O"']},
        {"PodmanArgs": "--init --device nvidia.com/gpu=O"},
        {"PodmanArgs": "--device=nvidia.com/gpu=0 --device=nvidia.com/gpu=O:rwm"},
        {"PodmanArgs": "--gpus=O,0"},
    ],
    ids=str,
)
@pytest.mark.parametrize("general", [False, True])
def test_a_device_that_is_added_to_the_container_is_looked_for_too(
    general: bool, keys: dict[str, Any], host: Host
) -> None:
    (host.specs / "nvidia.yaml").write_text(SPEC)
    own = {"model": "m", "port": 18001} | ({} if general else {"containerConfig": keys})
    [finding] = host.findings(models={"a": own}, **({"containerConfig": keys} if general else {}))
    [key] = keys
    where = "services.llmhop.vllm" + ("" if general else ".models.a")
    assert finding.startswith(f"{where}.containerConfig.{key}"), finding
    assert "defines nvidia.com/gpu=O" in finding


def test_a_device_that_only_systemd_can_name_is_passed_over(host: Host) -> None:
    assert host.findings(containerConfig={"AddDevice": "nvidia.com/gpu=%i"}) == []


@pytest.mark.parametrize("place", ["specification", "the user's containers.conf"])
def test_a_named_pipe_in_the_place_of_a_file_is_not_waited_for(
    place: str, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    (host.specs / "nvidia.yaml").write_text(SPEC)
    pipe = host.home / ".config/containers/containers.conf"
    if place == "specification":
        pipe = host.specs / "other.json"
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    assert host.findings("nvidia.com/gpu=other") == []
    assert f"{pipe} is no file that can be read" in caplog.text


def test_without_a_specification_it_is_told_how_to_make_one(host: Host) -> None:
    [finding] = host.findings("nvidia.com/gpu=all")
    assert "nvidia-ctk cdi generate" in finding


def test_the_users_own_configuration_wins(host: Host) -> None:
    (host.directory / "other").mkdir()
    (host.directory / "other/nvidia.json").write_text(
        '{"kind": "nvidia.com/gpu", "devices": [{"name": "all"}]}'
    )
    own = host.home / ".config/containers/containers.conf.d/cdi.conf"
    own.parent.mkdir(parents=True)
    own.write_text(f"[engine]\ncdi_spec_dirs = ['{host.directory}/other']\n")
    assert host.findings("nvidia.com/gpu=all") == []


@pytest.mark.parametrize("doubt", ["specification", "containers.conf", "flag", "not UTF-8"])
def test_where_it_can_not_be_sure_it_warns(
    doubt: str, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    (host.specs / "nvidia.yaml").write_text(SPEC)
    more: dict[str, Any] = {}
    if doubt == "specification":
        (host.specs / "other.yaml").write_text("kind: [")
    elif doubt == "not UTF-8":
        (host.specs / "other.json").write_bytes(b"\xff")
    elif doubt == "containers.conf":
        host.configuration.write_text("cdi_spec_dirs = [")
    else:
        more = {"containerConfig": {"GlobalArgs": ["--cdi-spec-dir=/srv/cdi"]}}
    assert host.findings("nvidia.com/gpu=9", **more) == []
    [warning] = caplog.messages
    assert f"warning: {WHERE}: no specification" in warning
    assert "not sure: " in warning
