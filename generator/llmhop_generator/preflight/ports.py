"""Findings about ports and sockets that other processes listen on."""

import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from llmhop_generator.contract import privileged_ports
from llmhop_generator.contract.listen import addresses, given_key, split, unix_path
from llmhop_generator.contract.options import Llmhop, Vllm
from llmhop_generator.errors import Finding, option_path
from llmhop_generator.host.systemd import system_socket_listens
from llmhop_generator.layout import ROUTER_SOCKET, ROUTER_UNIT

_LISTEN = "0A"  # tcp_states.h, as /proc/net/tcp spells it (proc_pid_net(5))
_ACCEPTS = 0x10000  # __SO_ACCEPTCON, in the flags of /proc/net/unix
_LOOPBACK = IPv4Address("127.0.0.1")
_MANAGER = 1
_UNPRIVILEGED_START = Path("/proc/sys", privileged_ports.SYSCTL.replace(".", "/"))

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Listener:
    """A socket that listens: on an address and a port, as a user, with an inode."""

    address: Address
    port: int
    uid: int
    inode: str


@dataclass(frozen=True)
class Holder:
    """A process that holds a socket: its name, id, and the unit that it belongs to."""

    name: str
    pid: int
    unit: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def port_findings(vllm: Vllm, ours: Collection[int]) -> Iterator[Finding]:
    """Find the ports of enabled models that are privileged, or taken by others than `ours`."""
    yield from privileged_ports.model_findings(vllm, _unprivileged_start())
    listening = [each for each in _listeners() if each.uid not in ours]
    for key, model in vllm.models.items():
        taken = (each for each in listening if _overlaps(_LOOPBACK, model.port, each))
        if model.enable and (listener := next(taken, None)) is not None:
            holder = _holder(listener.inode) or f"a process of user {listener.uid}"
            yield Finding.at(
                ("vllm", "models", key, "port"),
                f"{model.port} is taken by {holder}; stop it, or choose another",
            )


def router_findings(llmhop: Llmhop) -> Iterator[Finding]:
    """Find what llmhop is to listen on and may not, another process does, or can't be a socket."""
    yield from privileged_ports.router_findings(llmhop, _unprivileged_start())
    settings = llmhop.settings.model_dump()
    where = option_path(("llmhop", "settings", given_key(settings)))
    listening = list(_listeners())
    for text in addresses(settings):
        path = unix_path(text)
        if path is not None:
            inodes = _unix_listeners(path)
            if Path(path).exists() and not stat.S_ISSOCK(Path(path).stat().st_mode):
                yield Finding(where, f"{path} is there and is no socket; move it, or name another")
        else:
            host, port = split(text)
            inodes = [each.inode for each in listening if _overlaps(_parsed(host), port, each)]
        for holder in {h for inode in inodes if (h := _holder(inode)) and not _is_llmhop(h, text)}:
            yield Finding(where, f"{text} is taken by {holder}; stop it, or choose another")


def _unprivileged_start() -> int:
    try:
        return int(_UNPRIVILEGED_START.read_text(encoding="ascii"))
    except OSError:
        return privileged_ports.DEFAULT_START


def _is_llmhop(holder: Holder, text: str) -> bool:
    """Whether it is llmhop itself, or systemd on behalf of its socket."""
    if holder.pid != _MANAGER:
        return holder.unit == ROUTER_UNIT
    opened = system_socket_listens(ROUTER_SOCKET)
    return any(text.rpartition(":")[2] == each.rpartition(":")[2] for each in opened)


def _parsed(host: str) -> Address | None:
    """An address, or None for any, and for a name, which any address may be behind."""
    try:
        return _unmapped(ip_address(host.strip("[]")))
    except ValueError:
        return None


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _overlaps(address: Address | None, port: int, listener: Listener) -> bool:
    """Whether a socket on an address would find one that listens in its way.

    One on any IPv6 address takes IPv4 too, unless it says otherwise, which can't be seen.
    """
    if port != listener.port:
        return False
    if address is None or IPv6Address("::") in (address, listener.address):
        return True
    any_address = address.is_unspecified or listener.address.is_unspecified
    return address == listener.address or (
        any_address and address.version == listener.address.version
    )


# By hand: psutil does not tell whose a socket is where its process can't be seen, nor which unix
# sockets listen.
def _listeners() -> Iterator[Listener]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                address, port = fields[1].split(":")
                if fields[3] == _LISTEN:
                    uid, inode = int(fields[7]), fields[9]
                    yield Listener(_from_hex(address), int(port, 16), uid, inode)


def _from_hex(text: str) -> Address:
    """An address as /proc/net spells it: words of four bytes, each in the host's order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return _unmapped(ip_address(b"".join(words)))


def _unix_listeners(path: str) -> list[str]:
    """The inodes of the sockets that listen at a path (proc_pid_net(5))."""
    text = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
    rows = [line.split(maxsplit=7) for line in text.splitlines()[1:]]
    return [r[6] for r in rows if len(r) == 8 and r[7] == path and int(r[3], 16) & _ACCEPTS]


def _holder(inode: str) -> Holder | None:
    """The process that holds a socket, as far as it can be seen."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    name = (process / "comm").read_text(errors="replace").strip()
                    group = (process / "cgroup").read_text(errors="replace").strip()
                    return Holder(name, int(process.name), group.rpartition("/")[2])
    return None
