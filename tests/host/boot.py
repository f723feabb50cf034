"""The test's side of one host: its keeper process and the commands run inside it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tests.host.build import CLEAN_ENVIRONMENT
from tests.host.cache import remove
from tests.host.errors import MachineError

REPOSITORY = Path(__file__).parents[2]
# Writes itself into the cgroup $0, lowers the soft limit to what logins get, runs the rest.
ENTER = 'echo $$ > "$0/cgroup.procs" && ulimit -Sn 1024 && exec "$@"'
BOOT_SECONDS = 60


class Boot:
    """A host's keeper, from the first boot until `close`."""

    def __init__(self, name: str, root: Path, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch))
        self.shared = self.directory / "shared"
        self.pid: int | None = None
        self._commands: list[subprocess.Popen[bytes]] = []
        self._buffer = b""
        keeper = [sys.executable, "-m", "tests.host.keeper", name, str(root), str(self.directory)]
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", *keeper],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            start_new_session=True,  # an interrupt reaches it as the end of its input
        )
        try:
            self._cgroup = str(self._wait_for("ready")["cgroup"])
        except BaseException:
            self.close()
            raise

    def _read_events(self, timeout: float) -> list[dict[str, Any]]:
        """The events that the keeper has sent, after at most `timeout` seconds of waiting."""
        assert self._keeper.stdout is not None
        if select.select([self._keeper.stdout], [], [], timeout)[0]:
            data = os.read(self._keeper.stdout.fileno(), 65536)
            if not data:
                raise MachineError("the keeper of the host ended; see its message above")
            self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        events = [json.loads(line) for line in lines]
        for event in events:
            if event["event"] == "booted":
                self.pid = int(event["pid"])
            elif event["event"] == "ended":
                self.pid = None
        return events

    def _wait_for(self, kind: str, seconds: float = BOOT_SECONDS) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for event in self._read_events(left):
                if event["event"] == kind:
                    return event
        raise MachineError(f"no {kind!r} within {seconds} s; console:\n{self.console_tail()}")

    def _send(self, command: str) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{command}\n".encode())
        self._keeper.stdin.flush()

    def is_up(self) -> bool:
        """Whether the host runs now; it may have powered off by itself."""
        self._read_events(0)
        return self.pid is not None

    def boot(self) -> None:
        """Start the host and wait until its PID 1 exists."""
        self._send("boot")
        self._wait_for("booted")

    def kill(self) -> None:
        """End the host at once."""
        self._send("kill")
        self._wait_for("ended")

    def wait_for_end(self) -> None:
        """Wait until the host has ended by itself."""
        if self.is_up():
            self._wait_for("ended", 300)

    def wait_for_reboot(self) -> None:
        """Wait until a host that is about to reboot has its next PID 1."""
        self._wait_for("booted", 300)

    def console_tail(self) -> str:
        """The last lines of the host's console."""
        path = self.directory / "console.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-25:])

    def _enter(self, words: Sequence[str]) -> list[str]:
        """The command line that runs `words` inside the host."""
        if not self.is_up():
            raise MachineError("the host is not running")
        # The keeper's mount namespace shows the unified cgroup hierarchy.
        cgroup = f"/proc/{self._keeper.pid}/root{self._cgroup}/payload/driver"
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        environment = [f"{key}={value}" for key, value in CLEAN_ENVIRONMENT.items()]
        nsenter = ["nsenter", f"--target={self.pid}", *namespaces]
        return [
            "sh",
            "-c",
            ENTER,
            cgroup,
            *nsenter,
            "env",
            "-i",
            "--chdir=/root",
            *environment,
            *words,
        ]

    def run(self, words: Sequence[str], errors: IO[bytes]) -> tuple[int, bytes]:
        """Run `words` inside; return the code and standard output, errors go to `errors`."""
        done = subprocess.run(
            self._enter(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
        )
        return done.returncode, done.stdout

    def spawn(self, words: Sequence[str]) -> None:
        """Run `words` inside without waiting; they end with the host at the latest."""
        null = subprocess.DEVNULL
        command = self._enter(words)
        process = subprocess.Popen(command, stdin=null, stdout=null, stderr=null)
        self._commands.append(process)

    def close(self) -> None:
        """End the host and wait until nothing of it is left."""
        assert self._keeper.stdin is not None and self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()
        for process in self._commands:
            process.wait()
        remove(self.directory)
