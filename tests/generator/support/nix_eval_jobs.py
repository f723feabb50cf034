"""Stands in for nix-eval-jobs where that is not packaged: its options, its lines, its exit codes.

It takes the options of nix-eval-jobs 2.31 to 2.33 that llmhop-generator passes, has the
real Nix evaluate what they ask for, and writes what nix-eval-jobs writes: src/worker.cc
(error, extraValue), src/drv.cc (outputs, which may be null), src/nix-eval-jobs.cc (exit
codes). LLMHOP_TEST_DIES_AT names a host at which the worker dies.
"""

import argparse
import json
import os
import subprocess
import sys
from typing import Any


def nix(options: argparse.Namespace, function: str) -> "subprocess.CompletedProcess[str]":
    settings = [word for name, value in options.option for word in ("--option", name, value)]
    features = ["--extra-experimental-features", options.extra_experimental_features]
    command = ["nix", *features, *settings, "eval", "--json", options.flake, "--apply", function]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def job(options: argparse.Namespace, host: str) -> dict[str, Any]:
    selected = f"(({options.select}) hosts).{json.dumps(host)}"
    function = (
        f"hosts: let job = {selected}; in {{ extraValue = ({options.apply}) job; "
        "inherit (job) name system drvPath type; }"
    )
    done = nix(options, function)
    found: dict[str, Any] = {"attr": host, "attrPath": [host]}
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        return found | {"error": "error:\n       … while evaluating\n       " + done.stderr}
    read: dict[str, Any] = json.loads(done.stdout)
    assert read.pop("type") == "derivation"
    return found | read | {"outputs": {"out": None}}


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("flake", "select", "apply", "extra-experimental-features"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("workers", "max-memory-size"):
        parser.add_argument(f"--{name}", required=True, type=int)
    parser.add_argument("--option", nargs=2, action="append", default=[])
    options = parser.parse_args()
    listed = nix(options, f"hosts: builtins.attrNames (({options.select}) hosts)")
    if listed.returncode != 0:
        sys.stderr.write(listed.stderr)
        return 1
    for host in json.loads(listed.stdout):
        if host == os.environ.get("LLMHOP_TEST_DIES_AT"):
            sys.stderr.write(
                f"error: while reading result for attrPath '{host}', evaluation worker got "
                "killed by SIGKILL, maybe memory limit reached?\n"
            )
            return 1
        print(json.dumps(job(options, host)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
