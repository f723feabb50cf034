"""What the generator's tests share: a smallest configuration, and the command."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.generator.support.simulated_host import SimulatedHost
from tests.generator.support.simulation import in_place

MINIMAL: dict[str, Any] = {
    "version": 1,
    "vllm": {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "tag": "v0.11.0",
        "models": {"qwen2-5-7b": {"model": "Qwen/Qwen2.5-7B-Instruct", "port": 18001}},
    },
}

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def minimal() -> dict[str, Any]:
    """The configuration of the README, whole, to be changed at will."""
    return deepcopy(MINIMAL)


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SimulatedHost]:
    """A host in memory, on which the generator acts."""
    host = SimulatedHost(tmp_path)
    with in_place(host):
        yield host


@pytest.fixture
def generator() -> Command:
    """Run the command as a user does, as a process of its own."""

    def run(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llmhop_generator", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[Any], Path]:
    """Write a configuration to a file."""

    def write(config: Any) -> Path:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    return write
