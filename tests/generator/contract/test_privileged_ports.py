"""Ports that not everybody may open, by what the host says of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.parse.load import parse_config
from llmhop_generator.preflight import ports as host_ports

from tests.generator.conftest import MINIMAL, Command

PORT = "services.llmhop.vllm.models.qwen2-5-7b.port"


def parsed(settings: dict[str, Any], port: int = 18001) -> Config:
    config = json.loads(json.dumps(MINIMAL)) | {"llmhop": {"settings": settings}}
    config["vllm"]["models"]["qwen2-5-7b"]["port"] = port
    return parse_config(json.dumps(config).encode(), "config.json")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Set the sysctl of the host, or take it away."""

    def set_start(number: int | None) -> None:
        path = tmp_path / "ip_unprivileged_port_start"
        if number is not None:
            path.write_text(f"{number}\n")
        monkeypatch.setattr(host_ports, "_UNPRIVILEGED_START", path)
        # Nothing listens on this host.
        monkeypatch.setattr(host_ports, "_listeners", lambda: iter(()))

    return set_start


@pytest.mark.parametrize(
    ("port", "first", "refused"),
    [
        (80, 1024, True),
        (1023, 1024, True),
        (1024, 1024, False),
        (80, 80, False),
        (79, 80, True),
        (80, 0, False),
        (80, None, True),
        (18001, 20000, True),
    ],
)
def test_a_model_has_no_port_that_its_user_may_not_open(
    port: int, first: int | None, refused: bool, start: Callable[[int | None], None]
) -> None:
    start(first)
    vllm = parsed({}, port).vllm
    assert isinstance(vllm, Vllm)
    found = list(map(str, host_ports.port_findings(vllm, set())))
    assert len(found) == refused
    for line in found:
        assert line.startswith(f"{PORT}: {port} is below")
        assert line.endswith(f"or set the sysctl net.ipv4.ip_unprivileged_port_start to {port}")


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ({"listen": ":80"}, []),  # systemd opens it
        ({"listen": ["127.0.0.1:80", "[::1]:443", "unix:/run/s"]}, []),
        ({"listen": "localhost:80"}, [80]),
        ({"listen": ["127.0.0.1:80", "localhost:8080", ":443"]}, [80, 443]),
        ({"host": "localhost", "port": 80}, [80]),
        ({"listen": ["127.0.0.1:80", ":0"]}, [80]),
    ],
)
def test_llmhop_opens_no_privileged_port_by_itself(
    settings: dict[str, Any], ports: list[int], start: Callable[[int | None], None]
) -> None:
    start(1024)
    found = list(map(str, host_ports.router_findings(parsed(settings).llmhop)))
    where = "listen" if "listen" in settings else "port"
    assert [line.partition(" is")[0] for line in found] == [
        f"services.llmhop.settings.{where}: {port}" for port in ports
    ]
    start(80)
    assert list(host_ports.router_findings(parsed(settings).llmhop)) == []


def test_validate_warns_as_it_does_not_know_the_host(
    generator: Command, config_file: Callable[[Any], Path]
) -> None:
    config = json.loads(json.dumps(MINIMAL))
    config["vllm"]["models"]["qwen2-5-7b"]["port"] = 80
    done = generator("validate", config_file(config))
    assert done.returncode == 0
    assert "warning: " in done.stderr
    assert "ip_unprivileged_port_start" in done.stderr
