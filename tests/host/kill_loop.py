#!/usr/bin/env python3
"""Kills `apply` again and again on the host it stands on, and sees that the host converges.

    kill_loop COUNT SEED ENVIRONMENT_FILE CONFIG CONFIG…

First once at each step of the plans from the first configuration to the second and back,
then COUNT times at random: at a random moment, or at a random thing that `apply` does.
After each kill every unit is the one from before or the one that was wanted, and
llmhop's configuration is whole. Every fourth time or so `apply` then runs to its end, and
the host is as it was asked to be. Prints what was done, as JSON.
"""

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.host.converging import host_between, present, run

KILL_AT = Path(__file__).with_name("kill_at.py")
PROGRESS = Path("/root/kill_loop.json")
PYTHON = sys.executable
# What a model has come to, and not a step of the plan.
NEWS = re.compile(rb"[a-z]+: (starting|healthy|waits)")

done = {"steps": 0, "moments": 0, "things": 0, "ended before": 0, "converged": 0}


def kill_at_step(config: str, number: int) -> bool:
    """Kill `apply` when it tells its step of that number; whether it told so many."""
    words = ["llmhop-generator", "apply", config]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        steps = (line for line in process.stdout if not NEWS.match(line))
        for index, _ in enumerate(steps):
            if index == number:
                process.kill()
                return True
    return False


def kill_at_moment(config: str, seconds: float) -> bool:
    null = subprocess.DEVNULL
    words = ["llmhop-generator", "apply", config]
    with subprocess.Popen(words, stdout=null, stderr=null) as process:
        time.sleep(seconds)
        process.kill()
    return process.returncode < 0


def kill_at_thing(config: str, number: int) -> bool:
    return run(PYTHON, str(KILL_AT), str(number), "apply", config).returncode < 0


def main() -> None:
    times, seed, environment = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    configs = sys.argv[4:]
    chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
    host = host_between(configs, environment)

    def kill(config: str, how: Callable[[], bool], kind: str) -> bool:
        before = present()
        killed = how()
        done[kind if killed else "ended before"] += 1
        host.is_whole(before, config)
        return killed

    def converge(config: str) -> None:
        host.converge(config)
        done["converged"] += 1

    more = [True, True]
    for number in count():
        for way in (0, 1):
            to = configs[1 - way]
            more[way] = kill(to, lambda: kill_at_step(to, number), "steps")  # noqa: B023
            converge(to)
        if not any(more):
            break
    while done["moments"] + done["things"] < times:
        PROGRESS.write_text(json.dumps(done))
        config = chance.choice(configs)
        if chance.random() < 0.1:
            environment.write_text(f"TOKEN={chance.random()}\n")
        if chance.random() < 0.5:
            seconds = chance.uniform(0.1, 2.5)
            kill(config, lambda: kill_at_moment(config, seconds), "moments")  # noqa: B023
        else:
            thing = chance.randrange(1, 160)
            kill(config, lambda: kill_at_thing(config, thing), "things")  # noqa: B023
        if chance.random() < 1 / 4:
            converge(config)
    converge(configs[0])
    print(json.dumps(done))


if __name__ == "__main__":
    main()
