"""`apply` killed at every step and at random: the host has the old state or the new, and converges.

LLMHOP_TEST_KILLS sets how many kills at random there are; 300 take some 20 minutes.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.root import VENV
from tests.host.setup import Setup, standin_image

KILLS = int(os.environ.get("LLMHOP_TEST_KILLS", "4"))
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


def test_apply_can_be_killed_anywhere(new_machine: Callable[[str], Machine], cache: Cache) -> None:
    machine = new_machine("kills")
    machine.start()
    setup = Setup("one", CONFIGS, standin_image(cache), {ENVIRONMENT: "TOKEN=0\n"})
    setup.prepare(wheels(cache))(machine)
    for script in ("kill_at.py", "kill_loop.py"):
        machine.copy_from_host(str(Path(__file__).with_name(script)), f"/root/{script}")
    paths = " ".join(f"/etc/llmhop/{name}.json" for name in CONFIGS)
    command = f"{VENV}/bin/python /root/kill_loop.py {KILLS} {SEED} {ENVIRONMENT} {paths}"
    done = json.loads(machine.succeed(command, timeout=7200))
    with machine.log.nested(f"done: {done}"):
        assert done["moments"] + done["things"] >= KILLS
        assert done["steps"] >= 6
        assert done["converged"] >= done["steps"] * 2
