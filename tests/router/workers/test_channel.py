"""What goes between a worker and its supervisor: whole, in order, and without ever blocking."""

from __future__ import annotations

import errno
import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from llmhop.workers.channel import Channel
from llmhop.workers.messages import (
    PART_BYTES,
    Acquire,
    ConfigRejected,
    FromSupervisor,
    FromWorker,
    Release,
    StopWaiting,
    config_parts,
)
from llmhop.workers.remote_gate import MAX_UNSENT, RemoteGates

from tests.router.support.endpoints import check
from tests.router.support.fakes.worker import Request, models


class Ends:
    """Both ends of a connection; nobody writes when there is room but by `settle`."""

    def __init__(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.wanted = False
        self.worker: Channel[FromSupervisor, FromWorker] = Channel(
            its, FromSupervisor, self.want_write
        )
        self.supervisor: Channel[FromWorker, FromSupervisor] = Channel(
            ours, FromWorker, lambda _: None
        )

    def want_write(self, wanted: bool) -> None:
        self.wanted = wanted

    def arrived(self) -> list[FromWorker]:
        """Everything that was sent, the worker writing whenever it wants to."""
        found: list[FromWorker] = []
        while True:
            message = self.supervisor.receive()
            if message is None and not self.wanted:
                return found
            if message is None:
                self.worker.flush()
            else:
                found.append(message)


@pytest.fixture
def ends() -> Iterator[Ends]:
    both = Ends()
    yield both
    both.worker.socket.close()
    both.supervisor.socket.close()


def test_what_finds_no_room_is_kept_in_order(ends: Ends) -> None:
    count = 5000
    for ticket in range(count):
        ends.worker.send(Acquire(ticket, "m"))
    assert ends.worker.unsent
    assert ends.wanted
    # There is room again, but what came before goes first.
    for ticket in range(50):
        assert ends.supervisor.receive() == Acquire(ticket, "m")
    ends.worker.send(Acquire(count, "m"))
    assert ends.arrived() == [Acquire(ticket, "m") for ticket in range(50, count + 1)]
    assert not ends.worker.unsent


def test_a_peer_that_is_gone_is_reported_once_and_keeps_nothing(ends: Ends) -> None:
    ends.worker.send(ConfigRejected("why"))
    ends.supervisor.socket.close()
    for ticket in range(5000):
        ends.worker.send(Acquire(ticket, "m"))
    assert not ends.worker.unsent
    with pytest.raises(EOFError):
        ends.worker.receive()


class FailingSocket:
    """A socket that fails to send for some reason, once."""

    def __init__(self, real: socket.socket, number: int) -> None:
        self._real = real
        self.number: int | None = number

    def send(self, packet: bytes) -> int:
        number, self.number = self.number, None
        if number is not None:
            raise OSError(number, os.strerror(number))
        return self._real.send(packet)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM])
def test_what_finds_no_memory_is_sent_later(number: int, ends: Ends) -> None:
    ends.worker.socket = FailingSocket(ends.worker.socket, number)  # type: ignore[assignment]
    for ticket in range(3):
        ends.worker.send(Acquire(ticket, "m"))
    assert ends.worker.unsent == 3
    assert ends.arrived() == [Acquire(ticket, "m") for ticket in range(3)]


@pytest.mark.parametrize("number", [errno.EMSGSIZE, errno.EINVAL, errno.EBADF, errno.EPERM])
@pytest.mark.parametrize("waits", [False, True])
def test_what_can_never_be_sent_is_told_and_ends_the_connection(
    number: int, waits: bool, ends: Ends, capfd: pytest.CaptureFixture[str]
) -> None:
    if waits:
        while not ends.worker.unsent:
            ends.worker.send(Acquire(1, "m"))
        while ends.supervisor.receive() is not None:
            pass
    ends.worker.socket = FailingSocket(ends.worker.socket, number)  # type: ignore[assignment]
    if waits:
        ends.worker.flush()
    else:
        ends.worker.send(Acquire(2, "m"))
    ends.worker.send(Acquire(3, "m"))
    assert (ends.worker.unsent, ends.wanted) == (0, False)
    for end in (ends.supervisor, ends.worker):
        with pytest.raises(EOFError):
            end.receive()
    assert "sending to another process of llmhop failed with" in capfd.readouterr().err


def test_a_message_that_is_too_large_is_not_tried_again(ends: Ends) -> None:
    ends.worker.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    ends.worker.send(Acquire(1, "x" * 40_000))
    assert (ends.worker.unsent, ends.wanted) == (0, False)
    with pytest.raises(EOFError):
        ends.supervisor.receive()


@given(st.integers(1, 3), st.sampled_from([-1, 0, 1]))
def test_a_config_arrives_whole(parts: int, more: int) -> None:
    data = bytes(range(256)) * (parts * PART_BYTES // 256) + b"x" * more
    data = data[: parts * PART_BYTES + more]
    cut = config_parts(data)
    assert b"".join(part.data for part in cut) == data
    assert [part.last for part in cut] == [False] * (len(cut) - 1) + [True]
    assert all(len(part.data) <= PART_BYTES for part in cut)


def test_a_supervisor_that_reads_nothing_makes_nobody_wait_without_bound() -> None:
    sent: list[Acquire | Release | StopWaiting] = []
    gates = RemoteGates(sent.append, lambda: len(sent))
    gates.serve(models({"a": (1, 1)}))
    gate = gates.get("a")
    assert gate is not None
    requests = [Request(number, "a", gate) for number in range(MAX_UNSENT + 3)]
    for request in requests:
        request.start()
    assert [request.state for request in requests[-4:]] == ["waits", *["refused"] * 3]
    # To give up is always told, or a place would be lost.
    requests[0].end()
    assert sent[-1] == Release(1)


def test_a_config_goes_over_as_it_is(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    config = check(
        {
            "listen": ["127.0.0.1:0", "unix:/run/x"],
            "tls": {"certificate": f"{tmp_path}/cert.pem", "key": f"{tmp_path}/key.pem"},
            "authTokens": ["secret"],
            "models": {
                "m": {
                    "urls": ["https://h:1/v1?x=1", "unix:/run/engine:/v1"],
                    "headers": {"Authorization": "Bearer secret"},
                    "aliases": ["n"],
                    "maxConcurrent": 3,
                    "queueTimeout": 2.5,
                }
            },
        }
    )
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - made here
    assert "secret" not in repr(config)
    assert b"PRIVATE" not in repr(config).encode()
