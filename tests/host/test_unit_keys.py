"""Keys that a deployer adds to units, read by the real Podman's generator."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def verified(root: Path, directory: Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Render a configuration with the Podman of the test host's root; nothing is booted."""
    models = {"a": {"model": "m", "port": 18001}, "b": {"model": "m", "port": 18002}}
    models["b"] |= options.pop("of_b", {})
    vllm = {"enable": True, "uid": 503, "subUidStart": 300000, "tag": "v1", "models": models}
    config = {"version": 1, "vllm": vllm | options}
    return subprocess.run(
        [sys.executable, "-m", "llmhop_generator", "render", "-", "--verify", "-o", directory],
        input=json.dumps(config),
        env={"PATH": "/usr/bin:/bin", "LLMHOP_QUADLET": f"{root}/usr/libexec/podman/quadlet"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_podman_takes_what_is_added(root: Path, tmp_path: Path) -> None:
    done = verified(
        root,
        tmp_path,
        containerConfig={"GroupAdd": "keep-groups", "PidsLimit": 4096, "RunInit": True},
        of_b={"serviceConfig": {"MemoryMax": "1G"}, "unitConfig": {"PartOf": ["a.target"]}},
    )
    assert done.returncode == 0, done.stderr
    assert "MemoryMax=1G" in (tmp_path / "quadlet/vllm-b.container").read_text()


@pytest.mark.parametrize(
    ("options", "where", "what"),
    [
        (
            {"of_b": {"containerConfig": {"GroupAd": "keep-groups"}}},
            "services.llmhop.vllm.models.b.containerConfig.GroupAd",
            "makes no service of vllm-b.container",
        ),
        (
            {"containerConfig": {"Foo": 1}},
            "services.llmhop.vllm.containerConfig.Foo",
            "vllm-a.container, vllm-b.container",
        ),
        (
            {"of_b": {"serviceConfig": {"KillMode": "none"}}},
            "services.llmhop.vllm.models.b.serviceConfig.KillMode",
            "'none'",
        ),
    ],
)
def test_what_podman_refuses_is_told_by_its_option(
    options: dict[str, Any], where: str, what: str, root: Path, tmp_path: Path
) -> None:
    done = verified(root, tmp_path, **options)
    assert done.returncode == 1
    assert where in done.stderr
    assert what in done.stderr
    assert "Loading source" not in done.stderr
    assert not list(tmp_path.iterdir())
