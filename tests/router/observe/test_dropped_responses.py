"""How a request ends whose client leaves just before its response is written.

The event loop knows by then, the router does not: what is written to a transport that is about to
be lost is dropped in silence.
"""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

import pytest

from tests.router.conftest import StartFake, StartRouter
from tests.router.support.certificates import Authority
from tests.router.support.corpus.form_requests import BEGUN, head
from tests.router.support.endpoints import HEALTH, OK, TIMEOUT, Wire, chat, post, wait_until
from tests.router.support.fakes.network import FakeTransport
from tests.router.support.fakes.router import FakeRouter
from tests.router.support.held import Held

RESETS = struct.pack("ii", 1, 0)
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
SOCKET = b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: r\r\n" + UPGRADE + b"\r\n"
SWITCHED = b"HTTP/1.1 101 X\r\n" + UPGRADE + b"\r\n"
BEGINNING = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok"
HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
FORM = head(1_000_000) + BEGUN + b"x"
ENDS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def ends(router: FakeRouter) -> list[tuple[int, str]]:
    """How the requests ended."""
    return [(ended.status, ended.end) for ended in router.server.observer.ended]


def leave(client: FakeTransport, how: str) -> None:
    """Be gone, as the event loop has found out, or as the next write does."""
    if how == "reset":
        client.peer_resets()
    else:
        client.peer_vanishes()


LEAVES = pytest.mark.parametrize("how", ["reset", "write"])


@LEAVES
@pytest.mark.parametrize(
    ("request_", "before", "last", "status"),
    [
        (post(chat()), b"", OK, 200),
        (post(chat()), b"", ENDS, 200),
        (post(chat()), BEGINNING, b"ok", 200),
        (post(chat()), HINTS, OK, 200),
        (post(chat()), b"", HINTS + OK, 200),
        (post(chat()) * 2, b"", OK, 200),
        (FORM, b"", OK, 200),
        (SOCKET, b"", SWITCHED, 101),
        (post(chat()), b"", b"no HTTP\r\n\r\n", 499),
    ],
    ids=["whole", "close", "end", "hinted", "hints", "ahead", "form", "upgrade", "error"],
)
def test_a_response_that_nobody_took_is_not_complete(
    request_: bytes, before: bytes, last: bytes, status: int, how: str, start_fake: StartFake
) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, request_)
    backend = router.backend()
    if before:
        router.event(lambda: backend.peer_sends(before))

    def both() -> None:
        leave(client, how)
        backend.peer_sends(last)

    router.event(both)
    assert client.lost
    assert ends(router) == [(status, "client_left")]


@LEAVES
def test_what_comes_on_a_websocket_at_its_end_is_not_complete(
    how: str, start_fake: StartFake
) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, SOCKET)
    backend = router.backend()
    router.event(lambda: backend.peer_sends(SWITCHED))

    def both() -> None:
        leave(client, how)
        backend.peer_sends(b"\x81\x02hi")
        backend.peer_closes()

    router.event(both)
    assert client.lost
    assert ends(router) == [(101, "client_left")]


@pytest.mark.parametrize("request_", [HEALTH, b"NO HTTP\r\n\r\n", post(b"{}")])
def test_a_page_that_nobody_took_is_no_answer(request_: bytes, start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()
    client.peer_vanishes()
    router.send(client, request_)
    assert client.lost
    [ended] = router.server.observer.ended
    assert (ended.status, ended.end, ended.bytes_out) == (499, "client_left", 0)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_the_access_log_tells_of_a_client_that_was_gone_already(
    kind: str, tmp_path: Path, start_router: StartRouter, capfd: pytest.CaptureFixture[str]
) -> None:
    """As the event loop finds it: the client's reset first, and then the backend's response."""
    authority = Authority(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = authority.config() if kind == "tls" else {}
        router = start_router({"m": url}, accessLog="json", **config)
        wire = authority.wire(router.port) if kind == "tls" else Wire(router.port)
        with wire:
            wire.send(post(chat()))
            backend, _ = listener.accept()
            with backend:
                assert backend.recv(65536)
                with Held(router):
                    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
                    wire.close()
                    backend.sendall(OK)
                [entry] = entries(capfd)
    assert entry["end"] == "client_left"


def test_over_tls_who_closed_unread_has_left(
    tmp_path: Path, start_router: StartRouter, capfd: pytest.CaptureFixture[str]
) -> None:
    """While nothing is read, the transport takes the end for itself, and drops what is written."""
    authority = Authority(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        router = start_router({"m": url}, accessLog="json", **authority.config())
        with authority.wire(router.port) as wire:
            wire.send(post(chat()))
            backend, _ = listener.accept()
            with backend:
                assert backend.recv(65536)
                wire.send(post(b"x" * 100_000))  # so far ahead that it waits unread
                clients = router.server.clients
                wait_until(lambda: any(c._session.socket.paused for c in list(clients)))
                with Held(router):
                    wire.socket.shutdown(socket.SHUT_WR)
                    backend.sendall(OK)
                [entry] = entries(capfd)
    assert entry["end"] == "client_left"


def test_over_tls_who_closed_its_half_gets_the_answer_to_what_it_sent(
    tmp_path: Path, start_router: StartRouter
) -> None:
    authority = Authority(tmp_path)
    router = start_router({"m": "http://127.0.0.1:1"}, **authority.config())
    with authority.wire(router.port) as wire:
        with Held(router):
            wire.send(b"NO HTTP\r\n\r\n")
            socket.socket.shutdown(wire.socket, socket.SHUT_WR)  # and not that of TLS
        assert wire.response().status == 400


def test_over_tls_an_aborted_connection_has_left(tmp_path: Path, start_router: StartRouter) -> None:
    """Until it is lost, its socket's number may be another's already."""
    authority = Authority(tmp_path)
    router = start_router({"m": "http://127.0.0.1:1"}, **authority.config())

    def ask() -> None:
        [client] = router.server.clients
        client.transport.abort()
        assert client._session.socket.has_left()

    with authority.wire(router.port) as wire:
        wire.send(HEALTH)
        wire.response()
        router.thread.call(ask)


def entries(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Wait for the access log's next lines."""
    out = ""

    def is_written() -> bool:
        nonlocal out
        out += capfd.readouterr().out
        return out.endswith("\n")

    wait_until(is_written)
    return [json.loads(line) for line in out.splitlines()]
