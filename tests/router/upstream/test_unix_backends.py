"""Backends on unix sockets whose queue of connections is full, which TCP would wait for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.router.conftest import StartRouter
from tests.router.support.endpoints import OK, TIMEOUT, Wire, ask, chat, post, wait_until


class FullSocket:
    """A listener with no room for another connection, until `accept`."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(0)
        self._listener.settimeout(TIMEOUT)
        self._filler = socket.socket(socket.AF_UNIX)
        self._filler.connect(str(path))
        self._accepted: list[socket.socket] = []

    def accept(self) -> socket.socket:
        """Make room, and return the connection that comes next."""
        self._accept()
        return self._accept()

    def _accept(self) -> socket.socket:
        self._accepted.append(self._listener.accept()[0])
        self._accepted[-1].settimeout(TIMEOUT)
        return self._accepted[-1]

    def close(self) -> None:
        for sock in (self._listener, self._filler, *self._accepted):
            sock.close()


@pytest.fixture
def full_socket(tmp_path: Path) -> Iterator[FullSocket]:
    listener = FullSocket(tmp_path / "engine.sock")
    yield listener
    listener.close()


def test_a_request_waits_for_room(
    full_socket: FullSocket, start_router: StartRouter, tmp_path: Path
) -> None:
    router = start_router({"m": f"unix:{tmp_path}/engine.sock"})
    pool = router.server.models.all()["m"].pools[0]
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        wait_until(lambda: router.thread.call(lambda: pool.outstanding))
        engine = full_socket.accept()
        assert engine.recv(65536).startswith(b"POST ")
        engine.sendall(OK)
        assert wire.response().status == 200
    assert not pool.health.ejected


def test_it_waits_no_longer_than_connecting_may_take(
    full_socket: FullSocket,
    start_router: StartRouter,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = {"url": f"unix:{tmp_path}/engine.sock", "connectTimeout": 0.05}
    router = start_router({"m": model})
    assert ask(router.port, post(chat())).error_code == "backend_unavailable"
    assert "can't be reached (timed out)" in capfd.readouterr().err
