#!/usr/bin/env python3
"""Kills `apply` again and again on the host it stands on, and sees that the host converges.

    kill_loop COUNT SEED ENVIRONMENT_FILE CONFIG CONFIG…

First once at each step of the plan from the first configuration to the second, then COUNT
times at random: at a random moment, or at a random thing that `apply` does. After each
kill the units are those from before or those that were wanted, all of them, and llmhop's
configuration is whole. Every fourth time or so `apply` then runs to its end, and the host
is as it was asked to be. The model "steady" is in every configuration and keeps its
container throughout. Prints what was done, as JSON.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

UNITS = Path("/etc/containers/systemd/users/503")
ROUTES = Path("/var/lib/llmhop/llmhop.json")
KILL_AT = Path(__file__).with_name("kill_at.py")
PROGRESS = Path(__file__).with_name("kill_loop.json")
PYTHON = sys.executable
AS_USER = "cd / && runuser -u vllm -- env HOME=/var/lib/vllm XDG_RUNTIME_DIR=/run/user/503"

Units = dict[str, str]
done = {"steps": 0, "moments": 0, "things": 0, "ended before": 0, "converged": 0}


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, capture_output=True, text=True, check=False)


def rendered(config: str) -> Units:
    with tempfile.TemporaryDirectory() as output:
        assert run("llmhop-generator", "render", config, "-o", output).returncode == 0
        return {p.name: p.read_text() for p in Path(output, "quadlet").iterdir()}


def present() -> Units:
    return {p.name: p.read_text() for p in UNITS.glob("*.container")}


def containers() -> dict[str, str]:
    listed = run(
        "sh", "-c", f"{AS_USER} podman ps --no-trunc --format '{{{{.Names}}}} {{{{.ID}}}}'"
    )
    return dict(line.split() for line in listed.stdout.splitlines())


def converge(config: str, wanted: Units, steady: str) -> None:
    """Run `apply` to its end; the host is then as the configuration says."""
    ended = run("llmhop-generator", "apply", config)
    assert ended.returncode == 0, ended
    assert present() == wanted
    running = containers()
    assert set(running) == {name.removesuffix(".container") for name in wanted}, running
    assert running["vllm-steady"] == steady
    with urlopen("http://127.0.0.1:8080/v1/models", timeout=10) as answer:
        routes = {model["id"] for model in json.load(answer)["data"]}
    assert routes == {name[5:-10] for name in wanted}, routes
    assert run("llmhop-generator", "diff", config).returncode == 0
    assert not list(Path("/etc/containers").glob(".llmhop*"))
    done["converged"] += 1


def whole(before: Units, wanted: Units) -> None:
    """What a kill leaves: the old units or the new, and a router configuration to serve by."""
    assert present() in (before, wanted), sorted(present())
    assert "steady" in json.loads(ROUTES.read_text())["models"]


def kill_at_line(config: str, number: int) -> bool:
    """Kill `apply` when it tells its step of that number; whether it told so many."""
    words = ["llmhop-generator", "apply", config]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for index, line in enumerate(process.stdout):
            if b"healthy" in line and b"when" not in line:
                break
            if index == number:
                process.kill()
                return True
        process.stdout.read()
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
    count, seed, environment = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    configs = sys.argv[4:]
    wanted = {config: rendered(config) for config in configs}
    chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
    first, second = configs[:2]
    run("llmhop-generator", "apply", first)
    steady = containers()["vllm-steady"]

    def kill(config: str, how: Callable[[], bool], kind: str) -> bool:
        before = present()
        killed = how()
        done[kind if killed else "ended before"] += 1
        whole(before, wanted[config])
        return killed

    number = 0
    while True:
        converge(first, wanted[first], steady)
        if not kill(second, lambda: kill_at_line(second, number), "steps"):  # noqa: B023
            break
        converge(second, wanted[second], steady)
        number += 1
    while done["moments"] + done["things"] < count:
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
            converge(config, wanted[config], steady)
    converge(first, wanted[first], steady)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
