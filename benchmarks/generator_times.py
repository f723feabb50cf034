"""Times llmhop-generator on a booted host that serves ten models on the stand-in engine.

Each command runs ROUNDS times, the commands in turn; printed are median and range.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.host.cache import Cache
from tests.host.driver import Driver
from tests.host.project import dependencies, wheels
from tests.host.root import VENV, debian_root
from tests.host.setup import Setup, standin_image, write

ROUNDS = 15
CONFIG, THOUSAND = "/etc/llmhop/ten.json", "/etc/llmhop/thousand.json"
COMMANDS = {
    "python3 -c pass": f"{VENV}/bin/python3 -c pass",
    "python3 -c 'import pydantic'": f"{VENV}/bin/python3 -c 'import pydantic'",
    "llmhop-generator --help": "llmhop-generator --help",
    "apply with nothing to do, 10 models": f"llmhop-generator apply {CONFIG}",
    "diff with no change, 10 models": f"llmhop-generator diff {CONFIG}",
    "validate, 10 models": f"llmhop-generator validate {CONFIG}",
    "render, 1,000 models": f"llmhop-generator render {THOUSAND} -o /run/rendered",
}
TIMER = """
import json, statistics, subprocess, sys, time
commands, rounds = json.load(sys.stdin), int(sys.argv[1])
taken = {name: [] for name in commands}
for _ in range(rounds):
    for name, command in commands.items():
        begun = time.perf_counter()
        subprocess.run(["sh", "-c", "exec " + command], check=True, stdout=subprocess.DEVNULL)
        taken[name].append(time.perf_counter() - begun)
for name, seconds in taken.items():
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"| {name} | {middle:.3f} | {low:.3f} to {high:.3f} |")
"""


def config(count: int) -> str:
    """A configuration of so many models on the stand-in engine."""
    models: dict[str, Any] = {
        f"model-{i}": {"model": "m/x", "port": 18000 + i} for i in range(count)
    }
    vllm = {"enable": True, "uid": 503, "subUidStart": 300000, "image": "localhost/standin"}
    vllm |= {"tag": "v0.12.0", "startupOrdering": count > 10, "models": models}
    return json.dumps({"version": 1, "vllm": vllm})


def main() -> None:
    """Set the host up, time the commands there and print the table."""
    cache = Cache()
    configs = {"ten": config(10), "thousand": config(1000)}
    setup = Setup("ten", configs, standin_image(cache))
    prepare = setup.prepare(wheels(cache))
    scratch = Path(cache.directory, "hosts")
    root = debian_root(cache, dependencies())
    with Driver(["machine"], root, scratch, prepare=prepare) as driver:
        machine = driver.machines[0]
        machine.start()
        write(machine, "/root/timer.py", TIMER)
        write(machine, "/root/commands.json", json.dumps(COMMANDS))
        print("| command | median s | range |\n| --- | --- | --- |")
        print(machine.succeed(f"python3 /root/timer.py {ROUNDS} < /root/commands.json"), end="")


if __name__ == "__main__":
    main()
