"""`apply` killed anywhere: the host has the old state or the new, and the next run converges.

LLMHOP_TEST_KILLS sets how many kills at random there are; 300 take some 15 minutes.
LLMHOP_TEST_CALLS sets at how many system calls it is killed; 0 is at each.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.root import VENV
from tests.host.setup import FOUND_HEALTHY_SOON, Setup, standin_image

KILLS = int(os.environ.get("LLMHOP_TEST_KILLS", "4"))
CALLS = int(os.environ.get("LLMHOP_TEST_CALLS", "4"))
SEED = int(os.environ.get("LLMHOP_TEST_SEED", "1"))
ENVIRONMENT = "/etc/vllm/kills.env"


def config(models: dict[str, dict[str, Any]]) -> str:
    steady = {"model": "m/steady", "port": 18000}
    vllm = {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "image": "localhost/standin",
        "tag": "v0.12.0",
        "startupOrdering": False,
        **FOUND_HEALTHY_SOON,
        "models": {"steady": steady, **models},
    }
    return json.dumps({"version": 1, "vllm": vllm})


CONFIGS = {
    "one": config({"a": {"model": "m/a", "port": 18001}, "b": {"model": "m/b", "port": 18002}}),
    "two": config(
        {
            "a": {"model": "m/a", "port": 18001, "settings": {"seed": 2}},
            "c": {"model": "m/c", "port": 18003, "environmentFile": ENVIRONMENT},
        }
    ),
    "three": config({"c": {"model": "m/c", "port": 18003, "environmentFile": ENVIRONMENT}}),
}


@pytest.fixture(scope="module")
def host(root: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    out = tmp_path_factory.mktemp("kills")
    machine = Machine("kills", root, cache.directory / "hosts", out_dir=out)
    try:
        machine.start()
        setup = Setup("one", CONFIGS, standin_image(cache), {ENVIRONMENT: "TOKEN=0\n"})
        setup.prepare(wheels(cache))(machine)
        for script in ("converging.py", "kill_at.py", "kill_loop.py", "call_loop.py"):
            source = Path(__file__).with_name(script)
            machine.copy_from_host(str(source), f"/root/loops/tests/host/{script}")
        yield machine
    finally:
        machine.release()


def loop(host: Machine, name: str, *words: str) -> dict[str, int]:
    """Run a loop on the host, and give what it did."""
    python = f"cd /root/loops && {VENV}/bin/python -m tests.host.{name}"
    done = json.loads(host.succeed(" ".join([python, *words]), timeout=14400))
    assert isinstance(done, dict)
    return done


def paths(*names: str) -> list[str]:
    return [f"/etc/llmhop/{name}.json" for name in names]


def test_apply_can_be_killed_at_each_step_and_at_random(host: Machine) -> None:
    done = loop(host, "kill_loop", str(KILLS), str(SEED), ENVIRONMENT, *paths(*CONFIGS))
    with host.log.nested(f"done: {done}"):
        assert done["moments"] + done["things"] >= KILLS
        assert done["steps"] >= 20
        assert done["converged"] >= done["steps"]


def test_apply_can_be_killed_between_any_two_system_calls(host: Machine) -> None:
    done = loop(host, "call_loop", str(CALLS), ENVIRONMENT, *paths("one", "two"))
    with host.log.nested(f"done: {done}"):
        # Runs differ in how often they look whether a model is up.
        assert done["killed"] > done["ended before"]
