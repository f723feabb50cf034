"""The command as a user or systemd runs it: a process of its own, its output and exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.router.support.endpoints import OWN, TIMEOUT

Run = Callable[..., "Process"]

ORDERLY_S = 1.5
"""So long a process may take to write what is left of its log; a request may hold it up longer."""

# What systemd does before it starts a service: the sockets become descriptors from 3 on.
_AS_SYSTEMD = """
import os, sys
given = [int(n) for n in sys.argv[1].split(",")]
for descriptor in [os.dup(os.dup2(n, 100 + i)) for i, n in enumerate(given)]:
    os.close(descriptor)
for i in range(len(given)):
    os.dup2(100 + i, 3 + i)
    os.close(100 + i)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Process:
    """A running llmhop whose config can be rewritten, with a socket in systemd's place."""

    def __init__(
        self,
        directory: Path,
        config: object,
        environment: dict[str, str],
        sockets: Sequence[socket.socket] = (),
        before: str = "",
        redirect: str = "",
        streams: Mapping[str, int] | None = None,
    ) -> None:
        """`before` is Python to run first in the same process.

        `streams` are descriptors for its stdout and stderr, and `redirect` is for a shell.
        """
        self.path = directory / "llmhop.json"
        self.write(config)
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notifications.settimeout(TIMEOUT)
        self.notifications.bind(f"\0llmhop-test-{directory.name}{os.getpid()}-{id(self)}")
        name = "@" + self.notifications.getsockname()[1:].decode()
        command = ["-m", "llmhop", "--config", str(self.path)]
        if before:
            main = "from llmhop.cli import main; main(prog_name='llmhop')"
            command[:2] = ["-c", f"{before}\n{main}"]
        passed = [sock.fileno() for sock in sockets]
        if sockets:
            command = ["-c", _AS_SYSTEMD, ",".join(map(str, passed)), *command]
        shell = ["/bin/sh", "-c", f'exec "$0" "$@" {redirect}'] if redirect else []
        self._stdout = directory / "stdout"
        with self._stdout.open("ab") as stdout:
            outputs: dict[str, Any] = {"stdout": stdout, "stderr": subprocess.PIPE}
            self.process = subprocess.Popen(
                [*shell, sys.executable, *command],
                **{**outputs, **(streams or {})},
                text=True,
                pass_fds=passed,
                env={**os.environ, "NOTIFY_SOCKET": name, **environment},
            )
        try:
            started = self.notified()
            assert started.keys() == {"READY", "STATUS"}
        except BaseException:
            print(self.end(), file=sys.stderr)
            raise
        self.status = started["STATUS"]
        stderr = self.process.stderr
        self.started = "" if redirect or stderr is None else _line(stderr.fileno())

    @property
    def port(self) -> int:
        """The port of the only listener."""
        return int(self.status.rpartition(":")[2].split()[0])

    def memory(self, what: str = "VmRSS") -> int:
        """Its resident memory in bytes; of VmHWM the largest so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def lines(self) -> list[str]:
        """What is on standard output: the access log."""
        return self._stdout.read_text(encoding="utf-8").splitlines()

    def write(self, config: object) -> None:
        """Write the config, of a dict one that lets any Host pass unless it says otherwise."""
        if isinstance(config, dict):
            config = {"allowedHosts": OWN["allowedHosts"], **config}
        self.path.write_text(config if isinstance(config, str) else json.dumps(config))

    def notified(self) -> dict[str, str]:
        """The next message to systemd."""
        lines = self.notifications.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def reload(self) -> str:
        """Reload, wait until it is done, as systemd does for Type=notify-reload; give the status.

        Pings of the watchdog in between are passed over, and what was told before.
        """
        self.process.send_signal(signal.SIGHUP)
        return self.reloaded()

    def reloaded(self) -> str:
        """Wait until a reload is done, and give the status."""
        while "RELOADING" not in (reloading := self.message_but({"WATCHDOG": "1"})):
            assert reloading.keys() == {"STATUS"}
        assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"}
        assert int(reloading["MONOTONIC_USEC"]) > 0
        ready = self.message_but({"WATCHDOG": "1"})
        assert ready["READY"] == "1"
        return ready["STATUS"]

    def message_but(self, message: dict[str, str]) -> dict[str, str]:
        """The next message that is another one."""
        while (found := self.notified()) == message:
            pass
        return found

    def stop(self) -> None:
        """Ask for the end, and wait until that is told."""
        self.process.send_signal(signal.SIGTERM)
        assert self.message_but({"WATCHDOG": "1"})["STOPPING"] == "1"

    def end(self) -> str:
        """End it, in good order where it can, and return the rest of the log."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(ORDERLY_S)
            self.process.kill()
        self.notifications.close()
        stderr: str = self.process.communicate(timeout=TIMEOUT)[1]
        return stderr


def _line(descriptor: int) -> str:
    """Read one line and nothing behind it, which `communicate` would not find again."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
        line += byte
    return line.decode()


def llmhop(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "llmhop", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={**os.environ, **environment},
    )
