"""Backends that answer before they have read a request, and close: what they said is relayed.

Their kernel resets the connection for what they have not read, so that the next write fails while
their answer still waits to be read.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.router.conftest import StartFake, StartRouter
from tests.router.support.certificates import certified
from tests.router.support.corpus.form_requests import BEGUN, head
from tests.router.support.endpoints import TIMEOUT, RunningRouter, Wire, chat, post
from tests.router.support.fakes.network import FakeTransport
from tests.router.support.fakes.router import FakeRouter, responses, statuses
from tests.router.support.held import Held

LARGE = 1_000_000
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno"


@pytest.fixture(params=["tcp", "unix", "tls"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, trusted_authority: trustme.CA
) -> Iterator[socket.socket]:
    """A backend that reads nothing by itself."""
    if request.param != "unix":
        with socket.create_server(("127.0.0.1", 0)) as sock:
            tls = certified(trusted_authority, "127.0.0.1") if request.param == "tls" else None
            if tls is None:
                yield sock
                return
            with tls.wrap_socket(sock, server_side=True) as secure:
                yield secure
        return
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "backend.sock"))
        sock.listen()
        yield sock


def url_of(listener: socket.socket) -> str:
    name = listener.getsockname()
    if isinstance(name, str):
        return f"unix:{name}:/"
    scheme = "https" if isinstance(listener, ssl.SSLSocket) else "http"
    return f"{scheme}://127.0.0.1:{name[1]}"


def accept(listener: socket.socket) -> socket.socket:
    """Take a connection with the head of its request and the beginning of its form."""
    listener.settimeout(TIMEOUT)
    backend, _ = listener.accept()
    backend.settimeout(TIMEOUT)
    if backend.family == socket.AF_INET:  # or an answer that waits to be sent is lost here
        backend.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = b""
    while not data.endswith(b"x"):
        data += backend.recv(65536)
    return backend


def ejected(router: RunningRouter | FakeRouter) -> bool:
    return any(replica.ejected for replica in router.server.models.all()["m"].replicas)


def test_an_answer_is_relayed_though_the_write_after_it_fails(
    listener: socket.socket, start_router: StartRouter
) -> None:
    """The event loop finds more of the form before it finds the answer, in most rounds."""
    router = start_router({"m": url_of(listener)})
    for _ in range(10):
        with Wire(router.port) as wire:
            wire.send(head(LARGE) + BEGUN + b"x")
            backend = accept(listener)
            wire.send(b"y")  # stays unread, so that closing resets the connection
            assert select.select([backend], [], [], TIMEOUT)[0]
            with Held(router):
                wire.send(b"z" * 200_000)
                backend.sendall(REFUSED)
                backend.close()
            response = wire.response()
            assert (response.status, response.body) == (401, b"no")
            assert response.headers["connection"] == "close"
    assert not ejected(router)


def uploading(router: FakeRouter) -> tuple[FakeTransport, FakeTransport]:
    """Begin a form; return its client and its backend, which has taken all that came."""
    client = router.client()
    router.send(client, head(LARGE) + BEGUN + b"x")
    backend = router.backend()
    router.event(lambda: backend.peer_reads(LARGE))
    return client, backend


def break_under_a_write(
    router: FakeRouter, client: FakeTransport, backend: FakeTransport, answer: bytes
) -> None:
    """Have a backend answer and reset the connection just before the client sends more."""

    def both() -> None:
        backend.peer_answers_and_breaks(answer)
        client.peer_sends(b"y" * 1000)

    router.event(both)
    assert backend.lost


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_what_lies_unread_when_a_write_fails_is_the_answer(
    interim: bytes, start_fake: StartFake
) -> None:
    router = start_fake()
    client, backend = uploading(router)
    break_under_a_write(router, client, backend, interim + REFUSED)
    assert bytes(client.sent).startswith(interim)
    assert responses(bytes(client.sent).removeprefix(interim)) == [(401, b"no")]
    assert not ejected(router)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
def test_what_lies_unread_of_an_answer_without_an_end_is_relayed_and_cut(
    framing: bytes, start_fake: StartFake
) -> None:
    router = start_fake()
    client, backend = uploading(router)
    begun = b"2\r\nno\r\n" if b"chunked" in framing else b"no"
    break_under_a_write(router, client, backend, b"HTTP/1.1 401 X\r\n" + framing + b"\r\n" + begun)
    assert statuses(client) == [401]
    assert client.sent.endswith(begun)
    assert [ended.end for ended in router.server.observer.ended] == ["backend_broke"]
    assert not ejected(router)


@pytest.mark.parametrize(
    ("answer", "status"), [(b"HTTP/1.1 4", 502), (b"", 503), (b"x\r\n\r\n", 502)]
)
def test_only_who_said_nothing_or_no_http_is_set_aside(
    answer: bytes, status: int, start_fake: StartFake
) -> None:
    router = start_fake()
    client, backend = uploading(router)
    break_under_a_write(router, client, backend, answer)
    assert statuses(client) == [status]
    assert ejected(router) == (answer != b"HTTP/1.1 4")


def test_what_lies_unread_on_a_websocket_is_relayed_before_its_end(start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    router.send(client, f"GET /v1/realtime?model=m HTTP/1.1\r\nHost: r\r\n{upgrade}\r\n".encode())
    backend = router.backend()
    router.event(lambda: backend.peer_sends(f"HTTP/1.1 101 X\r\n{upgrade}\r\n".encode()))
    break_under_a_write(router, client, backend, b"\x81\x02hi")
    assert client.sent.endswith(b"\x81\x02hi")
    assert client.lost


def test_a_backend_that_speaks_first_speaks_no_http(
    start_fake: StartFake, capfd: pytest.CaptureFixture[str]
) -> None:
    router = start_fake(models={"m": {"urls": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}})
    router.loop.greeting = b"SSH-2.0-OpenSSH_9.2\r\n"
    client = router.client()
    via = "Via: 1.1 llmhop-0123456789abcdef"
    router.send(client, post(chat(), "/v1/chat/completions", via))
    router.backend()
    router.backend()
    assert responses(bytes(client.sent))[0][0] == 502
    assert b"sent what is no valid response" in client.sent
    # It got nothing of the request, so another llmhop may have it served.
    assert b"Proxy-Status: llmhop; error=destination_unavailable" in client.sent
    lines = capfd.readouterr().err.splitlines()
    assert ["sent bytes before it was asked" in line for line in lines] == [True, True]
    assert ejected(router)


@pytest.mark.parametrize("greets", [0, 1])
def test_a_backend_that_speaks_first_is_reported_only_where_no_other_may_be_starting(
    greets: int, start_fake: StartFake
) -> None:
    router = start_fake(models={"m": {"urls": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}})
    client = router.client()
    router.send(client, post(chat()))
    for index in range(2):
        router.loop.greeting = b"220 mail\r\n" if index == greets else b""
        backend = router.backend()
        if index != greets:
            router.event(backend.peer_closes)
    assert responses(bytes(client.sent))[0][0] == 503
    assert b"Retry-After: " in client.sent
