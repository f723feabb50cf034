"""Findings about ports that other processes listen on."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmhop_generator.contract import Vllm
from llmhop_generator.errors import Problem, option_path

_LISTEN = "0A"
# 127.0.0.1, any, and their forms in IPv6, as /proc/net spells them (proc_pid_net(5)).
_IN_THE_WAY = {
    "0100007F",
    "00000000",
    "0" * 32,
    "0000000000000000FFFF00000100007F",
}


@dataclass(frozen=True)
class Listener:
    """A socket that listens where a model would."""

    port: int
    uid: int
    inode: str


def port_findings(vllm: Vllm, ours: Collection[int]) -> Iterator[Problem]:
    """Find the ports of enabled models that are taken by users other than `ours`."""
    taken = {each.port: each for each in _listeners() if each.uid not in ours}
    for key, model in vllm.models.items():
        if model.enable and model.port in taken:
            yield Problem(
                option_path(("vllm", "models", key, "port")),
                f"{model.port} is taken by {_owner(taken[model.port])}; stop it, or choose another",
            )


def _listeners() -> Iterator[Listener]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                address, port = fields[1].split(":")
                if fields[3] == _LISTEN and address in _IN_THE_WAY:
                    yield Listener(int(port, 16), int(fields[7]), fields[9])


def _owner(listener: Listener) -> str:
    """The process that holds a socket, as far as it can be seen."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) == f"socket:[{listener.inode}]":
                    name = (process / "comm").read_text(errors="replace").strip()
                    return f"{name} (pid {process.name})"
    return f"a process of user {listener.uid}"
