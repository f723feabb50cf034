"""The Debian 13 root that hosts are booted from.

The root is a plain Debian: nothing in it prepares for the product, whose own
``llmhop-generator provision`` has to do that. It only holds the Python dependencies in a
virtual environment and the settings below, which a nested host needs on any machine.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.host.build import debootstrap, in_root, pip
from tests.host.cache import Cache

SUITE = "trixie"
PYTHON = "3.13"  # of that suite
VENV = "/opt/llmhop"

# Debian packages that the machine running the tests must have.
PREREQUISITES = ("mmdebstrap", "systemd-container", "util-linux")

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "dbus-user-session",
    "podman",
    "crun",
    "passt",
    "uidmap",
    "catatonit",
    "netavark",
    "aardvark-dns",
    "iproute2",
    "procps",
    "curl",
    "strace",  # kills a command at a system call
    "netcat-openbsd",  # the driver's wait_for_open_port
    "python3",
    "python3-venv",
)

# Settings of the test host, not of the product.
FILES = {
    # The pids controller may belong to the machine's cgroup v1, out of the host's reach.
    "etc/containers/containers.conf": "[containers]\npids_limit = 0\n",
    # nspawn's /dev has no tun device; pasta, Podman's rootless network, opens it as the user.
    "etc/tmpfiles.d/test-host.conf": "c! /dev/net/tun 0666 root root - 10:200\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}

# Timers that would use the network and the processor in the middle of a test.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer")


def missing_prerequisites() -> str | None:
    """Why no host can be booted on this machine, or None where it can."""
    if os.geteuid() != 0:
        return "booting a test host needs root"
    programs = ("mmdebstrap", "systemd-nspawn", "nsenter", "unshare", "tar")
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: {' '.join(PREREQUISITES)})"
    return None


def debian_root(cache: Cache, requirements: list[str]) -> Path:
    """The root directory with `requirements` in its virtual environment (read it only).

    Raises MachineError where Debian's or Python's packages cannot be fetched.
    """

    def make(target: Path) -> None:
        debootstrap(SUITE, "minbase", PACKAGES, target)
        for name, text in FILES.items():
            file = target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for unit in MASKED:
            (target / "etc/systemd/system" / unit).symlink_to("/dev/null")
        # Fetched by the machine's pip, with its settings; installed without a network.
        wheels = target / "tmp/wheels"
        only = ("--only-binary=:all:", "--python-version", PYTHON)
        pip("download", "--quiet", *only, "--dest", wheels, *requirements)
        in_root(target, "python3", "-m", "venv", VENV)
        install = (f"{VENV}/bin/pip", "install", "--quiet", "--no-index")
        in_root(target, *install, "--find-links=/tmp/wheels", *requirements)
        shutil.rmtree(wheels)
        # Newer than /usr: systemd then skips its first-boot updates (systemd.unit(5),
        # ConditionNeedsUpdate=).
        for name in ("etc/.updated", "var/.updated"):
            (target / name).touch()

    inputs = [SUITE, PYTHON, *PACKAGES, *MASKED, *requirements]
    inputs += [f"{name}={text}" for name, text in FILES.items()]
    sources = [Path(__file__), Path(__file__).with_name("build.py")]
    return cache.artefact("debian-root", [*inputs, *sources], make)
