"""Keys that a deployer adds to units, read by the real Podman's generator and by systemd."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.contract.keys.arguments import FLAGS, SWITCHES
from llmhop_generator.contract.keys.container import CONTAINER


def verified(
    root: Path, directory: Path, path: Path = Path("/usr/bin"), **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Render a configuration with the Podman of the test host's root; nothing is booted."""
    models = {"a": {"model": "m", "port": 18001}, "b": {"model": "m", "port": 18002}}
    models["b"] |= options.pop("of_b", {})
    vllm = {"enable": True, "uid": 503, "subUidStart": 300000, "tag": "v1", "models": models}
    config = {"version": 1, "vllm": vllm | options}
    return subprocess.run(
        [sys.executable, "-m", "llmhop_generator", "render", "-", "--verify", "-o", directory],
        input=json.dumps(config),
        env={"PATH": f"{path}:/bin", "LLMHOP_QUADLET": f"{root}/usr/libexec/podman/quadlet"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_podman_and_systemd_take_what_is_added(root: Path, tmp_path: Path) -> None:
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
            "vllm.models.b.containerConfig.GroupAd",
            "is refused by Podman (unsupported key",
        ),
        (
            {"containerConfig": {"Foo": 1}},
            "vllm.containerConfig.Foo",
            "is refused by Podman (unsupported key",
        ),
        (
            {"containerConfig": {"Network": "llm.network"}},
            "vllm.containerConfig.Network",
            "names llm.network",
        ),
        (
            {"containerConfig": {"Volume": "llm.volume:/b"}},
            "vllm.containerConfig.Volume",
            "names llm.volume",
        ),
        (
            {"of_b": {"serviceConfig": {"KillMode": "none"}}},
            "vllm.models.b.serviceConfig.KillMode",
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
    assert "Podman's generator" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_systemd_would_pass_over_is_told_by_its_option(root: Path, tmp_path: Path) -> None:
    done = verified(
        root,
        tmp_path,
        serviceConfig={"MemoryMax": "much", "Nice": 5},
        unitConfig={"StartLimitInterval": 60, "After": "a.service"},
        of_b={"serviceConfig": {"MemoryMaxx": "1G"}, "unitConfig": {"MemoryMax": "1G"}},
    )
    assert done.returncode == 1
    where = "vllm"
    assert done.stderr.splitlines()[1:] == [
        f"  {where}.models.b.serviceConfig.MemoryMaxx: systemd says: Unknown key 'MemoryMaxx' in "
        "section [Service]; see systemd.directives(7)",
        f"  {where}.models.b.unitConfig.MemoryMax: systemd says: Unknown key 'MemoryMax' in "
        "section [Unit]; see systemd.directives(7)",
        f"  {where}.serviceConfig.MemoryMax: systemd says: Invalid memory limit 'much': Invalid "
        "argument; see systemd.directives(7)",
    ]
    assert not list(tmp_path.iterdir())


def test_what_podman_and_what_systemd_say_come_at_once(root: Path, tmp_path: Path) -> None:
    refused = {"containerConfig": {"Foo": 1}}
    done = verified(root, tmp_path, of_b=refused, serviceConfig={"Restart": "perhaps"})
    assert done.returncode == 1
    assert "models.b.containerConfig.Foo: is refused by Podman" in done.stderr
    assert "vllm.serviceConfig.Restart: systemd says: Failed to parse" in done.stderr


def test_what_systemd_advises_against_is_not_refused(root: Path, tmp_path: Path) -> None:
    done = verified(root, tmp_path, serviceConfig={"StandardOutput": "syslog"})
    assert done.returncode == 0, done.stderr


def test_where_systemd_can_not_be_asked_it_is_told(root: Path, tmp_path: Path) -> None:
    """As in a sandbox that lacks what its manager needs."""
    program = tmp_path / "bin/systemd-analyze"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho Failed to initialize manager: No such file >&2; exit 1\n")
    program.chmod(0o755)
    done = verified(root, tmp_path / "out", path=program.parent, serviceConfig={"Nice": 5})
    assert done.returncode == 0
    assert "systemd can't be asked about the units: Failed to init" in done.stderr


def test_podman_knows_every_key_that_is_judged(root: Path, tmp_path: Path) -> None:
    def said(key: str) -> str:
        (tmp_path / "x.container").write_text(f"[Container]\nImage=localhost/x\n{key}=\n")
        done = subprocess.run(
            [root / "usr/libexec/podman/quadlet", "-dryrun", "-user"],
            env={"QUADLET_UNIT_DIRS": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stderr

    assert "unsupported key 'Foo'" in said("Foo")
    assert [key for key in CONTAINER if "unsupported key" in said(key)] == []


def test_podmans_flags_are_known(root: Path) -> None:
    def listed(command: str) -> tuple[set[str], set[str]]:
        # Podman finds itself by /proc.
        shell = f"mount -t proc proc /proc && {command} --help"
        done = subprocess.run(
            ["unshare", "--mount", "chroot", root, "/bin/sh", "-c", shell],
            capture_output=True,
            text=True,
            check=True,
        )
        options = re.findall(r"(?m)^ +(?:(-\w), )?(--[\w-]+)( \S+)?(?:  |$)", done.stdout)
        switches = {flag for short, name, value in options if not value for flag in (short, name)}
        return {name for _, name, _ in options}, switches - {""}

    for command, key in (("podman run", "PodmanArgs"), ("podman", "GlobalArgs")):
        flags, switches = listed(command)
        assert switches == SWITCHES[key]
        assert flags == {flag for flag in FLAGS[key] if flag.startswith("--")}
