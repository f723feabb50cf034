"""Running the programs that make roots and images, and the pip of this interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.host.errors import MachineError

# What is left out of every root: no test reads it.
UNWANTED = tuple(
    f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("doc", "info", "locale", "man")
)

CLEAN_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LOGNAME": "root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SHELL": "/bin/bash",
    "TERM": "dumb",
    "USER": "root",
}


def run(
    command: Sequence[str | Path], *, hint: str = "", env: Mapping[str, str] | None = None
) -> str:
    """Run `command` and return its standard output.

    Raises MachineError with the end of its output, and with `hint`, when it fails.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, errors="replace", env=env, check=False
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise MachineError(f"{words[0]} ended with code {done.returncode}: {hint}\n{tail}")
    return done.stdout


def debootstrap(suite: str, variant: str, packages: Sequence[str], target: Path) -> None:
    """Make a Debian root of `packages` in the directory `target`, from apt's usual mirror."""
    run(
        [
            "mmdebstrap",
            f"--variant={variant}",
            f"--include={','.join(packages)}",
            '--aptopt=APT::Install-Recommends "false"',
            *UNWANTED,
            suite,
            target,
        ],
        hint=f"building a Debian {suite} root needs root and a reachable Debian mirror",
    )
    # mmdebstrap copies these from the machine it runs on.
    for name in ("etc/resolv.conf", "etc/hostname"):
        (target / name).unlink(missing_ok=True)


def in_root(root: Path, *command: str) -> str:
    """Run a command with `root` as its root directory, in namespaces of its own."""
    enter: list[str | Path] = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--root",
        root,
        "--wd",
        "/",
    ]
    return run([*enter, *command], env=CLEAN_ENVIRONMENT)


def pip(*arguments: str | Path, hint: str = "", **variables: str) -> str:
    """Run this interpreter's pip with the settings of the machine (mirrors, certificates)."""
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables}
    return run([sys.executable, "-m", "pip", *arguments], hint=hint, env=env)


def tar(root: Path, target: Path) -> None:
    """Pack the directory `root` as an image's root file system, ids as numbers.

    Device nodes stay out: a rootless user could not unpack them.
    """
    options = ["--numeric-owner", "--sort=name", "--exclude=./dev/*"]
    run(["tar", "--create", f"--file={target}", f"--directory={root}", *options, "."])
