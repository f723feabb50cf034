"""The process that owns one host's mounts, cgroup and systemd-nspawn.

It is started in a mount namespace of its own and reads commands from standard input, one a
line: ``boot`` and ``kill``. It writes events to standard output, one JSON object a line:
``{"event": "booted", "pid": N}`` when a host's PID 1 runs (also after a reboot that the host
did by itself) and ``{"event": "ended", "code": N}`` when systemd-nspawn has ended. The end of
its standard input, so also the death of the test that started it, kills the host and removes
everything that it was made of. SIGINT and SIGTERM do the same.

The cgroup lies in the unified hierarchy only; the machine's v1 hierarchies are not touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.host.cache import remove

# Exit code of systemd-nspawn with --keep-unit when the host asked for a reboot.
REBOOT = 133
PR_SET_PDEATHSIG = 1  # prctl(2)
CGROUPS = Path("/sys/fs/cgroup")
# Free memory from which on a host keeps its files there; one needs some hundred MiB.
MEMORY_KIB = 6 * 1024**2


def mount(*arguments: str | Path) -> None:
    """Call mount(8)."""
    subprocess.run(["mount", *map(str, arguments)], check=True)


def free_memory_kib() -> int:
    """The memory that is free for new processes, in KiB; see proc_meminfo(5)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    fields = dict(line.split(":") for line in lines)
    return int(fields["MemAvailable"].split()[0])


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the keeper dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Keeper:
    """One host: its name, the root it is a copy of, and its scratch directory."""

    name: str
    lower: Path
    scratch: Path

    def __post_init__(self) -> None:
        self.cgroup = CGROUPS / f"llmhop-test-{self.scratch.name}"
        self.root = self.scratch / "root"
        self.files = self.scratch / "files"
        self.nspawn: subprocess.Popen[bytes] | None = None
        self.console, self.terminal = pty.openpty()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def set_up(self) -> None:
        """Mount the host's root in this private namespace and make its cgroup.

        The root is an overlay on the shared one. /var and /home are plain directories,
        because rootless Podman's own overlays cannot have their upper layer on an overlay.
        All that the host writes lies in memory where there is enough: what a disk has written
        takes it seconds to remove, and every fsync of Podman waits for it.
        """
        for path in (self.root, self.scratch / "shared", self.files):
            path.mkdir()
        if "LLMHOP_TEST_ON_DISK" not in os.environ and free_memory_kib() >= MEMORY_KIB:
            mount("-t", "tmpfs", "-o", "mode=755", "llmhop-test", self.files)
        for name in ("upper", "work", "home"):
            (self.files / name).mkdir()
        source, var = self.lower / "var", self.files / "var"
        subprocess.run(["cp", "-a", source, var], check=True)
        # systemd-nspawn keeps files in /run; they end with the namespace.
        mount("-t", "tmpfs", "-o", "mode=755", "llmhop-test", "/run")
        with contextlib.suppress(subprocess.CalledProcessError):
            unmount = ["umount", "--recursive", "--lazy", str(CGROUPS)]
            subprocess.run(unmount, check=True, stderr=subprocess.DEVNULL)
        mount("-t", "cgroup2", "llmhop-test", CGROUPS)
        layers = f"lowerdir={self.lower},upperdir={self.files}/upper"
        options = f"{layers},workdir={self.files}/work"
        mount("-t", "overlay", "llmhop-test", "-o", options, self.root)
        for name in ("var", "home"):
            mount("--bind", self.files / name, self.root / name)
        self.notify.bind("/run/notify")

    def join_cgroup(self) -> None:
        """In the new process: enter the host's cgroup, and die with the keeper."""
        die_with_parent()
        (self.cgroup / "cgroup.procs").write_text("0")

    def boot(self) -> None:
        """Start systemd-nspawn; the event follows when it names its PID 1."""
        self.remove_cgroup()
        self.cgroup.mkdir()
        command = [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            f"--directory={self.root}",
            f"--machine={self.name}",
            "--register=no",
            "--keep-unit",
            # A loopback of its own, and no other network.
            "--private-network",
            # Rootless Podman needs the real id range, and keys and BPF in its sandbox.
            "--private-users=no",
            "--capability=all",
            "--drop-capability=CAP_SYS_MODULE",
            "--system-call-filter=@keyring bpf",
            f"--bind={self.scratch}/shared:/mnt/shared",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            # Without a terminal on its standard streams systemd-nspawn ends at once.
            "--console=read-only",
        ]
        self.nspawn = subprocess.Popen(
            command,
            stdin=self.terminal,
            stdout=self.terminal,
            stderr=self.terminal,
            env={"PATH": os.environ["PATH"], "TERM": "dumb", "NOTIFY_SOCKET": "/run/notify"},
            preexec_fn=self.join_cgroup,  # safe: the keeper has no threads
            start_new_session=True,
        )

    def booted(self) -> None:
        """Handle a notification of systemd-nspawn, which names the host's PID 1."""
        for line in self.notify.recv(4096).decode().splitlines():
            key, _, value = line.partition("=")
            if key == "X_NSPAWN_LEADER_PID":
                # A cgroup for the commands that tests run inside, so that the host's
                # systemd sees them within its own hierarchy.
                (self.cgroup / "payload/driver").mkdir(parents=True, exist_ok=True)
                emit(event="booted", pid=int(value))

    def remove_cgroup(self) -> None:
        """Kill what is left of the host, wait until it is gone, and remove the cgroup."""
        if not self.cgroup.exists():
            return
        (self.cgroup / "cgroup.kill").write_text("1")
        while "populated 1" in (self.cgroup / "cgroup.events").read_text():
            time.sleep(0.01)
        for directory, _, _ in os.walk(self.cgroup, topdown=False):
            Path(directory).rmdir()

    def ended(self) -> None:
        """Report the end of systemd-nspawn, or boot again where the host asked for that."""
        if self.nspawn is None:
            return
        self.remove_cgroup()
        code = self.nspawn.wait()
        self.nspawn = None
        emit(event="ended", code=code)
        if code == REBOOT:
            self.boot()

    def tear_down(self) -> None:
        """Kill the host, then remove its mounts, its cgroup and its scratch directory."""
        self.remove_cgroup()
        if self.nspawn is not None:
            self.nspawn.wait()
        for path in (self.root / "var", self.root / "home", self.root, self.files):
            if path.is_mount():
                subprocess.run(["umount", "--lazy", path], check=True)
        remove(self.scratch)

    def serve(self) -> None:
        """Handle commands, the console and the end of systemd-nspawn until input ends."""
        commands = sys.stdin.fileno()
        with (self.scratch / "console.log").open("ab", buffering=0) as log:
            while True:
                watched = [commands, self.console, self.notify.fileno()]
                with process_handle(self.nspawn) as handle:
                    ready, _, _ = select.select([*watched, *handle], [], [])
                if self.console in ready:
                    log.write(os.read(self.console, 65536))
                if self.notify.fileno() in ready:
                    self.booted()
                if any(end in ready for end in handle):
                    self.ended()
                if commands in ready:
                    text = os.read(commands, 4096)
                    if not text:
                        return
                    for command in text.decode().split():
                        {"boot": self.boot, "kill": self.remove_cgroup}[command]()


@contextlib.contextmanager
def process_handle(process: subprocess.Popen[bytes] | None) -> Iterator[list[int]]:
    """A file descriptor that becomes readable when `process` ends, in a list; or none."""
    if process is None:
        yield []
        return
    handle = os.pidfd_open(process.pid)
    try:
        yield [handle]
    finally:
        os.close(handle)


def emit(**event: str | int) -> None:
    """Write one event."""
    print(json.dumps(event), flush=True)


def main() -> None:
    """Keep the host that the command line describes: NAME ROOT SCRATCH."""
    name, lower, scratch = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    keeper = Keeper(name, Path(lower), Path(scratch))
    try:
        keeper.set_up()
        emit(event="ready", cgroup=str(keeper.cgroup))
        keeper.serve()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # The test that reads the events may be gone.
        with contextlib.suppress(BrokenPipeError):
            keeper.tear_down()


if __name__ == "__main__":
    main()
