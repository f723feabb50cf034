"""Units are read by Podman's generator and by systemd before anything is written.

Podman's is stood in for here by a program that says what that of Podman 5.4 says, as a plain user
has none at hand; tests/host/test_unit_keys.py asks the real one. systemd's is the machine's own.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.contract.keys.container import CONTAINER
from llmhop_generator.contract.options import Vllm
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.model_unit import naming_options

QUADLET = f"""#!{sys.executable}
import os, pathlib, re, sys
known = {sorted(CONTAINER)!r}
for path in sorted(pathlib.Path(os.environ["QUADLET_UNIT_DIRS"]).glob("*.container")):
    print("quadlet-generator[1]: Loading source unit file", path, file=sys.stderr)
    text = path.read_text()
    section = re.search(r"(?s)\\[Container\\]\\n(.*?)(\\n\\n|$)", text)[1]
    keys = [line.partition("=")[0] for line in section.splitlines()]
    if unknown := [key for key in keys if key not in known]:
        where = f"unsupported key '{{unknown[0]}}' in group 'Container' in {{path}}"
        print(f'quadlet-generator[1]: converting "{{path.name}}": {{where}}', file=sys.stderr)
        continue
    if unit := re.search(r"(?m)^(?:Network|Volume)=([\\w-]+\\.(?:network|volume))", section):
        kind = "unit" if unit[1].endswith("network") else "source"
        where = f"requested Quadlet {{kind}} {{unit[1]}} was not found"
        print(f'quadlet-generator[1]: converting "{{path.name}}": {{where}}', file=sys.stderr)
        continue
    service = text.replace("[Container]", "[X-Container]").replace(
        "[Service]", "[Service]\\nType=notify\\nExecStart=/bin/true"
    )
    print(f"---{{path.stem}}.service---\\n{{service}}")
"""


def verified(
    directory: Path,
    *,
    quadlet: Path | None = None,
    of_b: Any = None,
    llmhop: Any = None,
    **options: Any,
) -> "subprocess.CompletedProcess[str]":
    program = directory / "quadlet"
    program.write_text(QUADLET)
    program.chmod(0o755)
    models = {"a": {"model": "m", "port": 18001}, "b": {"model": "m", "port": 18002}}
    models["b"] |= of_b or {}
    vllm = {"enable": True, "uid": 503, "subUidStart": 300000, "tag": "v1", "models": models}
    config = {"version": 1, "vllm": vllm | options, "llmhop": llmhop or {"enable": False}}
    command = [sys.executable, "-m", "llmhop_generator", "render", "-", "--verify"]
    # Whose own check would be the first to refuse an address.
    command += ["--llmhop", "/nowhere/llmhop"]
    return subprocess.run(
        [*command, "-o", directory / "out"],
        input=json.dumps(config),
        env={**os.environ, "LLMHOP_QUADLET": str(quadlet or program)},
        capture_output=True,
        text=True,
        check=False,
    )


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.mark.parametrize("options", [{}, {"serviceConfig": {"MemoryMax": "1G"}}], ids=str)
def test_units_that_podman_and_systemd_take_are_written(
    options: dict[str, Any], tmp_path: Path
) -> None:
    done = verified(tmp_path, **options)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out/quadlet").iterdir()} == {
        "vllm-a.container",
        "vllm-b.container",
    }


def test_a_key_that_podman_does_not_know_is_told_by_its_option(tmp_path: Path) -> None:
    done = verified(tmp_path, of_b={"containerConfig": {"GroupAd": "keep-groups"}})
    assert done.returncode == 1
    first, *found = done.stderr.splitlines()
    assert first == "error: Podman and systemd would not take all that is set"
    (option,) = found
    assert option.strip() == (
        "vllm.models.b.containerConfig.GroupAd: is refused by Podman "
        "(unsupported key 'GroupAd' in group 'Container'); see podman-systemd.unit(5)"
    )
    assert not (tmp_path / "out").exists()


def test_one_for_every_model_is_told_once(tmp_path: Path) -> None:
    done = verified(tmp_path, containerConfig={"GroupAd": "keep-groups"})
    _, *found = done.stderr.splitlines()
    assert [line.partition(": ")[0].strip() for line in found] == ["vllm.containerConfig.GroupAd"]


@pytest.mark.parametrize(
    ("keys", "unit"),
    [
        ({"Network": "llm.network"}, "llm.network"),
        ({"Network": ["a", "llm.network:alias=x"]}, "llm.network"),
        ({"Volume": ["/a:/a", "llm.volume:/b"]}, "llm.volume"),
    ],
    ids=str,
)
def test_a_quadlet_unit_that_is_not_there_is_told_by_the_option_that_names_it(
    keys: dict[str, Any], unit: str, tmp_path: Path
) -> None:
    done = verified(tmp_path, of_b={"containerConfig": keys})
    _, *found = done.stderr.splitlines()
    (key,) = keys
    assert [line.split(",")[0].strip() for line in found] == [
        f"vllm.models.b.containerConfig.{key}: names {unit}"
    ]


def test_an_option_that_a_model_replaces_names_nothing_for_it() -> None:
    model = {"model": "m", "port": 18001, "containerConfig": {"Network": "llm.network"}}
    vllm = {"enable": True, "uid": 503, "subUidStart": 300000, "tag": "v1", "models": {"a": model}}
    given = {"version": 1, "vllm": vllm | {"containerConfig": {"Network": "llm.network"}}}
    config = parse_config(json.dumps(given).encode(), "config.json")
    assert isinstance(config.vllm, Vllm)
    assert naming_options(config.vllm, "vllm-a.container", "llm.network") == [
        "services.llmhop.vllm.models.a.containerConfig.Network"
    ]


@needs_systemd
def test_what_systemd_would_pass_over_is_told_by_its_option(tmp_path: Path) -> None:
    done = verified(
        tmp_path,
        serviceConfig={"MemoryMaxx": "1G", "Nice": 5},
        of_b={"unitConfig": {"MemoryMax": "1G"}, "containerConfig": {"Foo": 1}},
    )
    assert done.returncode == 1
    told = done.stderr
    # What Podman makes no service of, systemd can't be asked about.
    assert "vllm.models.b.containerConfig.Foo: is refused by Podman" in told
    assert "vllm.serviceConfig.MemoryMaxx: systemd says: Unknown key" in told
    assert "Nice" not in told
    assert not (tmp_path / "out").exists()


@needs_systemd
def test_what_systemd_advises_against_is_not_refused(tmp_path: Path) -> None:
    done = verified(tmp_path, serviceConfig={"StandardOutput": "syslog"})
    assert done.returncode == 0, done.stderr


@needs_systemd
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"listen": "[1:2]:80"},
            "listen: systemd says: Failed to parse address value in '[1:2]:80'",
        ),
        ({"host": "1::2::3"}, "host: systemd says: Failed to parse address value"),
        ({"listen": [":80", "unix:/run/" + "x" * 108]}, "listen: systemd says: "),
    ],
    ids=str,
)
def test_what_systemd_would_not_open_of_llmhops_socket_is_told_by_its_option(
    settings: dict[str, Any], told: str, tmp_path: Path
) -> None:
    remote = {"models": {"far": {"url": "http://far"}}}
    llmhop = {"enable": True, "settings": settings | remote}
    # Also without a model here, whose units would be read too.
    for enable in (True, False):
        done = verified(tmp_path, llmhop=llmhop, enable=enable)
        assert done.returncode == 1
        _, *found = done.stderr.splitlines()
        [line] = [line.strip() for line in found if "systemd says" in line]
        assert line.startswith(f"llmhop.settings.{told}")
        assert not (tmp_path / "out").exists()


@needs_systemd
def test_a_socket_that_systemd_takes_is_written(tmp_path: Path) -> None:
    listen = ["127.0.0.1:80", "[::1]:80", ":81", "unix:/run/llmhop/a b%.sock"]
    done = verified(tmp_path, llmhop={"enable": True, "settings": {"listen": listen}})
    assert done.returncode == 0, done.stderr


def test_a_generator_that_is_not_there_is_told_with_what_to_set(tmp_path: Path) -> None:
    done = verified(tmp_path, quadlet=Path("/nowhere/quadlet"))
    assert done.returncode == 1
    assert done.stderr == (
        "error: Podman's Quadlet program is not at /nowhere/quadlet; set LLMHOP_QUADLET to it\n"
    )
    assert not (tmp_path / "out").exists()
