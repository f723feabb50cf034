"""What systemd is told, when it reads late: nobody waits for it, and it misses nothing it needs."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from llmhop.process.notify import Notifier

from tests.router.support.endpoints import HEALTH, TIMEOUT, Wire, chat, post, wait_until
from tests.router.support.process import Process, Run

FILLER = b"X_FILLER=1"

SAYS: dict[str, Callable[[Notifier], None]] = {
    "READY": lambda notifier: notifier.ready("s"),
    "RELOADING": lambda notifier: notifier.reloading(),
    "STATUS": lambda notifier: notifier.status("s"),
    "WATCHDOG": lambda notifier: notifier.alive(),
    "STOPPING": lambda notifier: notifier.stopping("s", 1),
}


def fill(address: str) -> int:
    """Leave no room for another message; return how many there was room for."""
    count = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        try:
            while True:
                other.sendto(FILLER, address)
                count += 1
        except BlockingIOError:
            return count


class Systemd:
    """A socket in systemd's place that is read when a test says so."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0llmhop-test-{os.getpid()}-{id(self)}")
        self.socket.setblocking(False)

    def read(self) -> list[bytes]:
        """Everything that has come, but what filled the socket."""
        found = []
        try:
            while True:
                message = self.socket.recv(4096)
                if message != FILLER:
                    found.append(message)
        except BlockingIOError:
            return found


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    """A systemd that tests are started by."""
    it = Systemd()
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + it.socket.getsockname()[1:].decode())
    yield it
    it.socket.close()


class _BlockedError(BaseException):
    """Something waits that must not."""


@pytest.fixture
def alarm() -> Iterator[None]:
    """Has a test fail that hangs."""

    def blocked(*_: object) -> None:
        raise _BlockedError

    before = signal.signal(signal.SIGALRM, blocked)
    signal.alarm(int(TIMEOUT))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_all_there_is_to_tell_is_known_here() -> None:
    tells = {name for name in vars(Notifier) if not name.startswith("_")} - {"waits", "resume"}
    assert tells == {"ready", "reloading", "status", "alive", "stopping"}
    assert len(SAYS) == len(tells)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("what", SAYS)
def test_nothing_waits_for_a_systemd_that_does_not_read(what: str, systemd: Systemd) -> None:
    notifier = Notifier()
    assert fill(systemd.socket.getsockname())
    SAYS[what](notifier)
    notifier.resume()
    assert systemd.read() == []
    notifier.resume()
    told = [message.split(b"=")[0].decode() for message in systemd.read()]
    assert told == ([] if what == "WATCHDOG" else [what])
    assert not notifier.waits


def test_what_waits_is_told_in_order_and_the_latest_status_only(systemd: Systemd) -> None:
    notifier = Notifier()
    fill(systemd.socket.getsockname())
    notifier.ready("a")
    for status in "bcd":
        notifier.status(status)
    notifier.stopping("e", 1)
    assert systemd.read() == []
    notifier.status("f")  # there is room now, but what came before goes first
    found = [message.decode().splitlines() for message in systemd.read()]
    assert [lines[:2] for lines in found] == [
        ["READY=1", "STATUS=a"],
        ["STATUS=d"],
        ["STOPPING=1", "STATUS=e"],
        ["STATUS=f"],
    ]


def test_many_messages_that_wait_end_with_the_latest(systemd: Systemd) -> None:
    notifier = Notifier()
    fill(systemd.socket.getsockname())
    for number in range(1000):
        notifier.reloading()
        notifier.ready(str(number))
        notifier.status("x")
    told = systemd.read()
    while notifier.waits:
        notifier.resume()
        told += systemd.read()
    assert len(told) < 100
    assert told[-1] == b"STATUS=x"
    assert told[-2] == b"READY=1\nSTATUS=999"
    assert told[-3].startswith(b"RELOADING=1\nMONOTONIC_USEC=")


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        *((number, True) for number in (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)),
        *((number, True) for number in (errno.EMFILE, errno.ENFILE)),
        *((number, False) for number in (errno.ENOENT, errno.ECONNREFUSED, errno.EMSGSIZE)),
    ],
)
def test_only_what_there_may_be_room_for_later_is_kept(
    number: int, kept: bool, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    notifier = Notifier()
    with monkeypatch.context() as patch:
        patch.setattr("llmhop.process.notify.socket.socket", fail)
        notifier.ready("s")
        notifier.alive()
    assert notifier.waits == kept
    notifier.resume()
    assert systemd.read() == [b"READY=1\nSTATUS=s"] * kept


def states(process: Process) -> list[str]:
    """What has been told but the fillers, pings and states in between; up to the first pause."""
    found = []
    process.notifications.setblocking(False)
    try:
        while True:
            found += [key for key in process.notified() if key in ("READY", "RELOADING")]
    except BlockingIOError:
        return found


@pytest.mark.parametrize(("workers", "watchdog"), [(1, "20000"), (2, "20000"), (2, "")])
def test_a_router_serves_while_systemd_does_not_read(workers: int, watchdog: str, run: Run) -> None:
    models = {"m": {"url": "http://127.0.0.1:1", "maxConcurrent": 2}}
    process = run({"models": models, "workers": workers}, WATCHDOG_USEC=watchdog)
    fill(process.notifications.getsockname())
    process.process.send_signal(signal.SIGHUP)
    for request, status in ((HEALTH, 200), (post(chat()), 503)) * 3:
        with Wire(process.port) as wire:
            wire.send(request)
            assert wire.response().status == status
    assert process.process.stderr is not None
    while "reloaded" not in process.process.stderr.readline():
        pass
    told: list[str] = []

    def ready() -> bool:
        told.extend(states(process))
        return "READY" in told

    wait_until(ready)
    assert told == ["RELOADING", "READY"]
    fill(process.notifications.getsockname())
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(TIMEOUT) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_status_says_that_a_reload_was_refused_until_one_is_taken(
    run: Run, tmp_path: Path, workers: int
) -> None:
    (tmp_path / "given").write_text("x")
    config = {
        "models": {"m": {"url": "http://127.0.0.1:1"}},
        "workers": workers,
        "authTokens": ["${file:given}"],
        "listen": "127.0.0.1:0",
    }
    process = run(config, CREDENTIALS_DIRECTORY=str(tmp_path))
    process.write({**config, "authTokens": ["${file:other}"]})
    assert process.reload().startswith("reload refused, the old config stays: serves 1 model on ")
    process.write(config)
    assert process.reload().startswith("serves 1 model on ")
