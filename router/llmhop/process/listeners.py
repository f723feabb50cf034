"""The sockets that are listened on: bound here, or passed by systemd."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmhop.config.config import Config
from llmhop.config.findings import ConfigError, Finding
from llmhop.config.listen_address import (
    Address,
    TcpAddress,
    UnixAddress,
    is_bound_as,
    overlap,
)
from llmhop.log.logger import log
from llmhop.process.exposure import is_open_file, is_open_host

_DEFAULT = Config(models={}).addresses
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
_MAX_DIGITS = 10
_PASSED_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Listeners:
    """Sockets to listen on."""

    def __init__(self, sockets: list[socket.socket], *, passed: bool = False) -> None:
        """`passed` says that the sockets are systemd's, which keeps them beyond this process."""
        self.sockets = sockets
        self.passed = passed
        self._files = [] if passed else [_SocketFile(s) for s in sockets if is_unix(s)]

    def urls(self, scheme: str) -> list[str]:
        """Where they are, with `scheme` for TCP: http://127.0.0.1:8080, unix:/path."""
        return [_url(sock, scheme) for sock in self.sockets]

    def open_urls(self, scheme: str) -> list[str]:
        """Which of them others may reach, see exposure."""
        return [_url(sock, scheme) for sock in self.sockets if _is_open(sock)]

    def for_worker(self) -> Listeners:
        """Return the sockets for this process, forked as one of several (`reuse_port`).

        TCP addresses are bound once more (SO_REUSEPORT), so that the kernel spreads clients over
        the processes. Sockets that can't be bound twice, unix ones and passed ones, are shared.
        """
        sockets = []
        for sock in self.sockets:
            if self.passed or is_unix(sock):
                sockets.append(sock)
            else:
                sockets.append(_bound(sock))
                sock.close()
        return Listeners(sockets, passed=True)  # their files are not for a worker to remove

    def close(self) -> None:
        """Close the sockets and remove the files that unix sockets made."""
        for file in self._files:
            file.remove()
        for sock in self.sockets:
            sock.close()


def is_unix(sock: socket.socket) -> bool:
    """Whether a socket is a unix one."""
    return sock.family == socket.AF_UNIX


def open_listeners(
    addresses: Iterable[Address], socket_mode: int, *, reuse_port: bool = False
) -> Listeners:
    """Take the sockets that systemd passed, or else bind `addresses`.

    Nothing can connect before they listen. With `reuse_port`, several processes can bind the same.
    Raises ConfigError for every address that can't be bound, or is one with another.
    """
    passed = _passed()
    if passed:
        _log_difference(passed, tuple(addresses))
        return Listeners(passed, passed=True)
    sockets: list[socket.socket] = []
    findings = []
    bound: list[tuple[TcpAddress, TcpAddress]] = []  # as the config has it, as the kernel has it
    for address in addresses:
        try:
            if isinstance(address, UnixAddress):
                sockets.append(_bind_unix(address, socket_mode))
                continue
            fresh = _bind_tcp(address, reuse_port)
            sockets += fresh
            names = [TcpAddress(*sock.getsockname()[:2]) for sock in fresh]
            # bind(2) lets pass what listen(2) then refuses, or nobody where several listen.
            one = [other for other, name in bound if any(overlap(name, n) for n in names)]
            for other in dict.fromkeys(one):
                what = f"{other} and {address} are one address to the kernel"
                findings.append(Finding("listen", what, "remove one of the two"))
            bound += [(address, name) for name in names]
        except OSError as error:
            what = f"can't bind {address} ({error.strerror or error})"
            todo = "choose another address, or stop what uses it"
            findings.append(Finding("listen", what, todo))
    if findings:
        Listeners(sockets).close()
        raise ConfigError(findings)
    return Listeners(sockets)


def _log_difference(passed: list[socket.socket], addresses: tuple[Address, ...]) -> None:
    """Say so where systemd passes something else than a config asks for, if it asks at all."""
    if addresses == _DEFAULT:
        return
    names = [_name(sock) for sock in passed]
    if not all(any(is_bound_as(n, a) for a in addresses) for n in names) or not all(
        any(is_bound_as(n, a) for n in names) for a in addresses
    ):
        log(
            f"systemd passes other sockets than listen says: {', '.join(map(str, names))}, and not "
            f"{', '.join(map(str, addresses))}; change ListenStream= of the socket unit, or listen"
        )


def _name(sock: socket.socket) -> Address:
    name = sock.getsockname()
    return UnixAddress(os.fsdecode(name)) if is_unix(sock) else TcpAddress(*name[:2])


def _passed() -> list[socket.socket]:
    # sd_listen_fds(3): the variables are for the process with this id, not for its children.
    environment = {name: os.environ.pop(name, "") for name in _PASSED_VARIABLES}
    if environment["LISTEN_PID"] != str(os.getpid()):
        return []
    passed = environment["LISTEN_FDS"] or "0"
    if not passed.isdecimal() or len(passed) > _MAX_DIGITS:
        todo = "leave it to systemd, which sets it"
        raise ConfigError([Finding("LISTEN_FDS", "is no number of descriptors", todo)])
    count = int(passed)
    return [_taken(descriptor) for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + count)]


def _taken(descriptor: int) -> socket.socket:
    """Take over a descriptor that was passed. Raises ConfigError where it is of no use."""
    with suppress(OSError):
        sock = socket.socket(fileno=descriptor)
        sock.set_inheritable(False)
        if sock.type == socket.SOCK_STREAM and sock.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            return sock
    what = f"passes something (descriptor {descriptor}) that is no socket listening for streams"
    todo = "use ListenStream= and Accept=no in the socket unit"
    raise ConfigError([Finding("LISTEN_FDS", what, todo)])


def _bind_tcp(address: TcpAddress, reuse_port: bool) -> list[socket.socket]:
    """Bind every address that a host name stands for."""
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    try:
        for family, _, _, _, name in dict.fromkeys(found):
            port = sockets[0].getsockname()[1] if sockets else address.port
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:  # a kernel without IPv6
                failure = error
                continue
            try:
                where = (name[0], port, *name[2:])
                if reuse_port:
                    _check_unused(family, where)
                _prepare(sock, reuse_port)
                sock.bind(where)
            except OSError as error:
                sock.close()
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                failure = error  # an address of a family that is turned off
                continue
            sockets.append(sock)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise failure or OSError(errno.EADDRNOTAVAIL, "the host has no address")
    return sockets


def _check_unused(family: int, where: tuple[Any, ...]) -> None:
    """Raise OSError where somebody listens: SO_REUSEPORT would let us take a part of the clients.

    socket(7): it lets every process of one user bind that sets it, too.
    """
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        _prepare(sock, False)
        sock.bind(where)


def _bound(other: socket.socket) -> socket.socket:
    """Bind to the address of another socket, beside it."""
    sock = socket.socket(other.family, socket.SOCK_STREAM)
    _prepare(sock, True)
    sock.bind(other.getsockname())
    return sock


def _prepare(sock: socket.socket, reuse_port: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        # IPv4 has sockets of its own.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _bind_unix(address: UnixAddress, mode: int) -> socket.socket:
    _remove_stale(Path(address.path))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(address.path)
        # Before it listens, so that nobody connects under another mode.
        Path(address.path).chmod(mode)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: Path) -> None:
    """Remove a socket on which nobody listens. Raises OSError where something else is there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "there is a file that is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:  # somebody listens, with many waiting
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


class _SocketFile:
    """The file of a unix socket that was bound here."""

    def __init__(self, sock: socket.socket) -> None:
        self._path = Path(sock.getsockname())
        self._inode = self._path.stat().st_ino

    def remove(self) -> None:
        """Remove the file, unless another process has put its own there."""
        with suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def _is_open(sock: socket.socket) -> bool:
    name = sock.getsockname()
    if not is_unix(sock):
        return is_open_host(name[0])
    path = os.fsdecode(name)
    if path.startswith("\0"):  # the abstract namespace knows no modes
        return True
    try:
        mode, *above = [p.stat().st_mode for p in (Path(path), *Path(path).parents)]
    except OSError:  # it is gone, so nobody finds it
        return False
    return is_open_file(mode, above)


def _url(sock: socket.socket, scheme: str) -> str:
    name = sock.getsockname()
    if is_unix(sock):
        return f"unix:{os.fsdecode(name)}"
    host, port = name[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
