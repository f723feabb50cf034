"""Where a backend's url leads: a path, a unix socket, and the times that hold for connections."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import Wire, chat, post


def test_the_path_of_a_backends_url_comes_before_what_is_left(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend.url + "/base?k=1"})
    with Wire(router.port) as wire:
        wire.send(b"GET /route/m/metrics?x=2 HTTP/1.1\r\nHost: r\r\n\r\n")
        assert wire.response().status == 200
    assert backend.requests[0].line == "GET /base/metrics?k=1&x=2 HTTP/1.1"


def test_a_backend_on_a_unix_socket_is_reached_and_its_connection_kept(
    start_backend: StartBackend, start_router: StartRouter, tmp_path: Path
) -> None:
    path = tmp_path / "engine.sock"
    backend = start_backend(path=path)
    router = start_router({"m": f"unix:{path}:/v2"})
    with Wire(router.port) as wire:
        for _ in range(2):
            wire.send(post(chat()))
            assert wire.response().body == chat()
    assert [r.line for r in backend.requests] == ["POST /v2/v1/chat/completions HTTP/1.1"] * 2
    assert backend.requests[0].values("host") == ["localhost"]
    assert backend.connections == 1


def test_a_unix_socket_where_nobody_listens_is_an_unavailable_backend(
    start_router: StartRouter, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    router = start_router({"m": f"unix:{tmp_path}/none.sock", "n": f"unix:{tmp_path}/left.sock"})
    with Wire(router.port) as wire:
        wire.send(post(chat("m")) + post(chat("n")))
        assert [wire.response().status for _ in "mn"] == [503, 503]


def test_an_unused_connection_is_kept_as_long_as_the_model_says(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend, other = start_backend(), start_backend()
    router = start_router({"m": backend, "n": other})
    router.reload(
        {"models": {"m": {"url": backend.url, "idleTimeout": 60}, "n": {"url": other.url}}}
    )
    with Wire(router.port) as wire:
        wire.send(post(chat("m")) + post(chat("n")))
        assert [wire.response().status for _ in "mn"] == [200, 200]
        router.sweep_after(30)
        wire.send(post(chat("m")) + post(chat("n")))
        assert [wire.response().status for _ in "mn"] == [200, 200]
    assert (backend.connections, other.connections) == (1, 2)


def test_connecting_ends_after_the_models_connect_timeout(start_router: StartRouter) -> None:
    # A listener whose queue is full answers no SYN; the default would wait for 10 s.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        router = start_router({"m": "http://h"})
        url = f"http://127.0.0.1:{address[1]}"
        router.reload({"models": {"m": {"url": url, "connectTimeout": 0.05}}})
        with Wire(router.port) as wire:
            wire.send(post(chat()))
            wire.socket.settimeout(9)
            assert wire.response().status == 503
        for filler in fillers:
            filler.close()
