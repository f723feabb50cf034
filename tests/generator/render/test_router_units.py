"""llmhop's service and socket on a host that is not NixOS."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.host_tree import host_files

# As `systemd-analyze security` counts: 0 is best. NixOS's services are rarely below 4.
EXPOSURE = 1.5


def units(**settings: Any) -> dict[str, str]:
    models = {"a": {"url": "http://127.0.0.1:1"}}
    contract = {"enable": True, "settings": {"models": models, **settings}}
    text = json.dumps({"version": 1, "llmhop": contract}).encode()
    files = host_files(parse_config(text, "contract"), "/usr/bin/true")
    return {Path(path).name: text for path, text in files.items() if "systemd" in path}


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


@pytest.mark.parametrize(
    ("settings", "streams"),
    [
        ({}, ["127.0.0.1:8080"]),
        ({"port": 1}, ["127.0.0.1:1"]),
        ({"host": "::1", "port": 1}, ["[::1]:1"]),
        ({"listen": ":9000"}, ["9000"]),
        ({"listen": ["0.0.0.0:1", "[::]:2"]}, ["0.0.0.0:1", "[::]:2"]),
        ({"listen": "unix:/run/llmhop/50%.sock"}, ["/run/llmhop/50%%.sock"]),
    ],
)
def test_systemd_opens_what_llmhop_listens_on(settings: dict[str, Any], streams: list[str]) -> None:
    files = units(**settings)
    assert values(files["llmhop.socket"], "ListenStream") == streams
    assert values(files["llmhop.service"], "Requires") == ["llmhop.socket"]
    assert "llmhop.socket" in values(files["llmhop.service"], "After")[0].split()


@pytest.mark.parametrize("listen", ["localhost:8080", ":0", [":1", "gpu.example:2"]])
def test_llmhop_opens_its_sockets_itself_where_systemd_can_not(listen: object) -> None:
    files = units(listen=listen)
    assert "llmhop.socket" not in files
    assert values(files["llmhop.service"], "Requires") == []
    assert values(files["llmhop.service"], "After") == ["network-online.target"]


def test_unix_sockets_have_the_configured_mode() -> None:
    assert values(units()["llmhop.socket"], "SocketMode") == ["0660"]
    assert values(units(socketMode="0600")["llmhop.socket"], "SocketMode") == ["0600"]


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


def test_systemd_finds_no_fault_with_the_units(analyze: str, tmp_path: Path) -> None:
    files = units(listen=["127.0.0.1:8080", "unix:/run/llmhop/llmhop.sock"])
    for name, text in files.items():
        # The test's machine has no such user, and perhaps an older systemd.
        text = re.sub(r"^(User|Group|SocketUser|SocketGroup)=.*\n", "", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(text.replace("Type=notify-reload", "Type=notify"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(tmp_path / name for name in files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "llmhop" in line] == []


def test_the_service_is_exposed_less_than_the_bound(analyze: str, tmp_path: Path) -> None:
    path = tmp_path / "llmhop.service"
    path.write_text(units()["llmhop.service"])
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", path],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Overall exposure level for llmhop.service: ([0-9.]+)", done.stdout)
    assert found, done.stdout
    assert float(found[1]) < EXPOSURE
