"""A host that lacks something while a case looks at it, and what `check` finds there."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.host.machine import Machine
from tests.host.setup import write

CONFIG = "/root/config.json"
READY = "this host is ready\n"
PROVISIONED = "/root/provisioned.json"
USER_MANAGER = "user@503.service.d/llmhop.conf"

# All that cases change: files, mounts, sockets, services and a limit of the kernel.
_STATE = """{
find /etc /root /srv /usr/bin /var/cache/vllm /var/lib/llmhop /var/lib/systemd/linger \\
  -printf '%p %M %u %g %l\\n' | sort
find /etc /var/lib/llmhop -type f -exec sha256sum {} + | sort
findmnt --noheadings --raw --output TARGET | grep ^/srv || true
ss --no-header --listening --numeric --tcp | awk '{print $4}' | sort
systemctl is-active user@503.service llmhop.socket llmhop.service || true
cat /proc/sys/net/ipv4/ip_unprivileged_port_start
}"""
_KEPT = "/run/state"


def config(model: dict[str, Any] | None = None, **changes: Any) -> str:
    vllm = {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "tag": "v1",
        "image": "registry.invalid/image",
        "openFilesLimit": 1024,  # a host in a container may give no more than its own
        "models": {"a": {"model": "m", "port": 18001, **(model or {})}},
    }
    return json.dumps({"version": 1, "vllm": vllm | changes})


def with_llmhop(**settings: Any) -> str:
    """A configuration without models of this host."""
    models = {"far": {"url": "http://127.0.0.1:9"}}
    llmhop = {"enable": True, "settings": {"models": models, **settings}}
    return json.dumps({"version": 1, "llmhop": llmhop, "vllm": {"enable": False}})


def ready_though_outdated(unit: str) -> str:
    """What `check` says where `provision` would write a unit of the system's manager otherwise."""
    return (
        f"/etc/systemd/system/{unit}: written by `provision` for another configuration, or by an "
        f"earlier llmhop; run `llmhop-generator provision CONFIG` before the next boot\n{READY}"
    )


def keep_state(machine: Machine) -> None:
    """Remember how a host is, so that what a case leaves behind is found."""
    machine.succeed(f"{_STATE} > {_KEPT}")


def assert_as_kept(machine: Machine) -> None:
    """See that a host is as it was; what differs is in the error."""
    machine.succeed(f"{_STATE} | diff {_KEPT} -")


class CheckedHost:
    """A lent host; closing `undo` takes back what a case changed, the last change first."""

    def __init__(self, machine: Machine, undo: ExitStack) -> None:
        self.machine = machine
        self._undo = undo

    def at_end(self, command: str) -> None:
        """Have a command run when the case is over."""
        self._undo.callback(self.machine.succeed, command)

    def change(self, command: str, back: str) -> None:
        """Run a command, and at the end the one that undoes it."""
        self.machine.succeed(command)
        self.at_end(back)

    def hide(self, path: str) -> None:
        """Let a file be missing."""
        self.change(f"mv {path} {path}.aside", f"mv {path}.aside {path}")

    def put(self, path: str, text: str, *, mode: str = "644") -> None:
        """Let a file have this text; one that is there stands aside."""
        if self.machine.execute(f"test -e {path}")[0] == 0:
            self.hide(path)
        write(self.machine, path, text)
        tidy = f"rm {path} && rmdir -p --ignore-fail-on-non-empty {Path(path).parent}"
        self.change(f"chmod {mode} {path}", tidy)

    def serve(self, unit: str, command: str) -> str:
        """Have a service run; gives the id of its process."""
        self.change(f"systemd-run --collect --unit {unit} {command}", f"systemctl stop {unit}")
        return self.machine.get_unit_property(f"{unit}.service", "MainPID")

    def check(self, text: str) -> tuple[int, str]:
        """What `check` ends with for a configuration, and what it says."""
        write(self.machine, CONFIG, text)
        return self.machine.execute(f"llmhop-generator check {CONFIG} 2>&1")

    def findings(self, text: str) -> list[str]:
        """What `check` finds for a configuration, without the notes that stand before it."""
        code, output = self.check(text)
        assert code == 1, output
        _, not_ready, found = output.partition(
            "error: the host is not ready, and nothing was changed\n"
        )
        assert not_ready, output
        return [line.strip() for line in found.splitlines()]

    def finding(self, text: str) -> str:
        """The one thing that `check` finds for a configuration."""
        [found] = self.findings(text)
        return found
