#!/usr/bin/env python3
"""Kills `apply` before each system call that changes something, on the host it stands on.

    call_loop COUNT ENVIRONMENT_FILE CONFIG CONFIG

strace counts the calls of an `apply` from the first configuration to the second, and of one
back. Then `apply` is killed before one of them, runs to its end, and so on, each way in
turn, with COUNT calls spread over all, or with every one where COUNT is 0. Between two
calls of these nothing changes, so that this is a kill between any two system calls. After
each every unit is the old one or the new one, and the next run converges. Prints
what was done, as JSON.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.host.converging import host_between, present, run

# What changes files or starts processes. A file is made by an open, and then written: a
# kill before the write is one after the open. The last is the end of the process.
CALLS = (
    "write,pwrite64,writev,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,"
    "symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,chmod,fchmod,fchmodat,chown,fchown,"
    "fchownat,flock,prlimit64,fork,vfork,clone,clone3,exit_group"
)
ONLY = ("-e", f"trace={CALLS}")
PROGRESS = Path("/root/call_loop.json")
# The processes that a wait starts to ask for states are alike; three of them will do.
ASKING = 3


def traced(config: str, *more: str) -> "subprocess.CompletedProcess[str]":
    # Without -f: the calls of this process, and of none that it starts.
    return run("strace", "-qq", "-e", "signal=none", *more, "llmhop-generator", "apply", config)


def calls_of(config: str) -> list[str]:
    """The calls of an `apply`, in their order."""
    with tempfile.NamedTemporaryFile(mode="r") as log:
        ended = traced(config, "-o", log.name, *ONLY)
        assert ended.returncode == 0, ended
        return [line.partition("(")[0] for line in log if re.match(r"[a-z0-9]+\(", line)]


def points(calls: list[str]) -> list[tuple[str, int]]:
    """The calls to kill at, each as the how-manieth of its name; of a row only the first ones."""
    seen: Counter[str] = Counter()
    found = []
    for n, call in enumerate(calls):
        seen[call] += 1
        if calls[max(0, n - ASKING) : n] != [call] * ASKING:
            found.append((call, seen[call]))
    return found


def spread(numbers: list[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    return numbers if count == 0 else [numbers[i * len(numbers) // count] for i in range(count)]


def main() -> None:
    count, environment, configs = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    host = host_between(configs, environment)
    there, back = calls_of(configs[1]), calls_of(configs[0])
    ways = [spread(points(calls), count // 2) for calls in (there, back)]
    done = {"calls": sum(map(len, map(points, (there, back)))), "killed": 0, "ended before": 0}
    for turn in range(max(map(len, ways))):
        for config, way in ((configs[1], ways[0]), (configs[0], ways[1])):
            if turn < len(way):
                before, (call, number) = present(), way[turn]
                kill = ("-e", f"inject={call}:signal=KILL:when={number}")
                killed = traced(config, "-o", "/dev/null", *ONLY, *kill).returncode != 0
                done["killed" if killed else "ended before"] += 1
                host.is_whole(before, config)
            host.converge(config)
            PROGRESS.write_text(json.dumps(done))
    print(json.dumps(done))


if __name__ == "__main__":
    main()
