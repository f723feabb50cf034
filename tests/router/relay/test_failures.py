"""What a client, and the log, are told of each way in which a backend fails."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from llmhop.models.gate import LocalGate

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.responses import CHUNKED
from tests.router.support.endpoints import (
    TIMEOUT,
    Received,
    Respond,
    Wire,
    chat,
    post,
    respond_bytes,
    stall,
    wait_until,
)

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"


def reset(raw: bytes) -> Respond:
    """Send this and reset the connection."""

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        on_for_no_time = b"\x01\0\0\0\0\0\0\0"
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, on_for_no_time
        )
        writer.transport.abort()

    return respond


def shut(raw: bytes) -> Respond:
    return respond_bytes(raw, close=True)


@contextmanager
def refusing(tmp_path: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def no_socket(tmp_path: Path) -> Iterator[str]:
    yield f"unix:{tmp_path}/engine.sock"


@contextmanager
def left_socket(tmp_path: Path) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    yield f"unix:{tmp_path}/left.sock"


@contextmanager
def silent(tmp_path: Path) -> Iterator[str]:
    # A listener whose queue is full answers no SYN.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"
        for filler in fillers:
            filler.close()


@contextmanager
def not_tls(tmp_path: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        plain.settimeout(TIMEOUT)

        def greet() -> None:
            client, _ = plain.accept()
            client.sendall(b"220 welcome\r\n")
            client.recv(10_000)
            client.close()

        greeter = threading.Thread(target=greet)
        greeter.start()
        yield f"https://127.0.0.1:{plain.getsockname()[1]}"
        greeter.join()


UNREACHABLE = {
    "refused": (refusing, "Connect call failed|Connection refused"),
    "no socket": (no_socket, "No such file or directory"),
    "socket of nobody": (left_socket, "Connection refused"),
    "connect timeout": (silent, "timed out"),
    "no TLS": (not_tls, "(?:SSL|ssl).*"),
}


@pytest.mark.parametrize("name", UNREACHABLE)
def test_a_backend_that_is_not_reached_is_a_503_with_retry_after(
    name: str, start_router: StartRouter, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, reason = UNREACHABLE[name]
    with make(tmp_path) as url:
        router = start_router({"m": {"url": url, "connectTimeout": 0.2 if make is silent else 10}})
        with Wire(router.port) as wire:
            wire.send(post(chat()))
            response = wire.response()
    assert (response.status, response.error_code) == (503, "backend_unavailable")
    assert response.headers["retry-after"] == "1"
    assert response.error["type"] == "server_error"
    (line,) = capfd.readouterr().err.splitlines()
    begin = re.escape(f"llmhop: backend of model 'm' at {url} can't be reached (")
    assert re.match(f"{begin}.*({reason})", line), line


@dataclass(frozen=True)
class Failure:
    """How a backend fails; `stalls` where time has to pass, `cut` what a client still gets.

    `status`, `code` and `log` are what it is told before the head of the response.
    """

    respond: Respond
    log: str
    status: int = 502
    code: str = "backend_error"
    stalls: bool = False
    cut: bytes | None = None


# Each without the empty line that ends a head, and then it waits.
OTHER_PROTOCOLS = {
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SMTP": b"220 mail ESMTP\r\n",
    "JSON": b'{"ok":true}\n',
    "alert of TLS": b"\x15\x03\x01\0\x02\x02\x46",
    "one byte": b"\0",
    "HTTP/2": b"HTTP/2",
    "bare LFs": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "a bare LF after a field": b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\nok",
    "no HTTP after a 1xx": b"HTTP/1.1 100 Continue\r\n\r\n220 mail",
}
BEFORE = {
    "closed": Failure(
        shut(b""), "closed the connection before the end of its", 503, "backend_unavailable"
    ),
    "reset": Failure(
        reset(b""), r"broke off the connection \(.*reset by peer\)", 503, "backend_unavailable"
    ),
    "closed in the head": Failure(shut(LENGTH[:20]), "closed the connection before the end of"),
    "reset in the head": Failure(reset(LENGTH[:20]), r"broke off the connection"),
    "closed after a 1xx": Failure(shut(b"HTTP/1.1 100 Continue\r\n\r\n"), "closed the connection"),
    "no HTTP": Failure(stall(b"220 welcome\r\n\r\n"), "sent"),
    **{name: Failure(stall(raw), "sent") for name, raw in OTHER_PROTOCOLS.items()},
    **{f"{name}, closed": Failure(shut(raw), "sent") for name, raw in OTHER_PROTOCOLS.items()},
    "two lengths": Failure(stall(LENGTH[:-2] + b"Content-Length: 8\r\n\r\n"), "sent"),
    "silent": Failure(
        stall(b""), "sent no response for 600 s", 504, "backend_timeout", stalls=True
    ),
    "silent in the head": Failure(
        stall(LENGTH[:20]), "sent no response for 600 s", 504, "backend_timeout", stalls=True
    ),
    "silent after a 1xx": Failure(
        stall(b"HTTP/1.1 100 Continue\r\n\r\n"),
        "sent no response for 600 s",
        504,
        "backend_timeout",
        stalls=True,
    ),
}
AFTER = {
    "closed": Failure(shut(LENGTH + b"short"), "closed the connection before", cut=b"short"),
    "reset": Failure(reset(LENGTH), "broke off the connection", cut=b""),
    "closed between chunks": Failure(
        shut(CHUNKED + b"2\r\nok\r\n"), "closed the connection before", cut=b"2\r\nok\r\n"
    ),
    "silent": Failure(
        stall(LENGTH + b"short"), "sent nothing more for 600 s", stalls=True, cut=b"short"
    ),
    "silent between chunks": Failure(
        stall(CHUNKED + b"2\r\nok\r\n"),
        "sent nothing more for 600 s",
        stalls=True,
        cut=b"2\r\nok\r\n",
    ),
}


def log_line(capfd: pytest.CaptureFixture[str]) -> str:
    (line,) = capfd.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("name", BEFORE)
def test_a_backend_that_fails_before_its_response_is_told_apart(
    name: str,
    start_backend: StartBackend,
    start_router: StartRouter,
    capfd: pytest.CaptureFixture[str],
) -> None:
    failure = BEFORE[name]
    backend = start_backend(failure.respond)
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()) + b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
        assert backend.arrived.acquire(timeout=20)
        if failure.stalls:
            router.let_time_pass()
        response = wire.response()
        assert (response.status, response.error_code) == (failure.status, failure.code)
        assert response.error["type"] == "server_error"
        assert ("retry-after" in response.headers) == (failure.status == 503)
        assert str(backend.port) not in response.body.decode()
        assert wire.response().status == 200, "the connection goes on"
    assert backend.gone.acquire(timeout=20)
    line = log_line(capfd)
    assert re.match(rf"llmhop: backend of model 'm' at {backend.url} {failure.log}", line), line
    assert len([r for r in backend.requests if r.line.startswith("POST ")]) == 1


@pytest.mark.parametrize("name", AFTER)
def test_a_backend_that_fails_in_its_response_breaks_the_clients_connection(
    name: str,
    start_backend: StartBackend,
    start_router: StartRouter,
    capfd: pytest.CaptureFixture[str],
) -> None:
    failure = AFTER[name]
    backend = start_backend(failure.respond)
    router = start_router({"m": {"url": backend.url, "retries": 3}})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.head()[0] == 200
        if failure.stalls:
            assert wire.file.read(len(failure.cut or b"")) == failure.cut
            router.let_time_pass()
            assert wire.at_end()
        else:
            assert wire.file.read() == failure.cut
    assert backend.gone.acquire(timeout=20)
    line = log_line(capfd)
    assert re.match(rf"llmhop: backend of model 'm' at {backend.url} {failure.log}", line), line
    assert len(backend.requests) == 1


def test_every_piece_of_a_response_gives_the_next_one_its_whole_time(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    go_on = threading.Semaphore(0)

    async def stream(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(go_on.acquire)
        writer.write(CHUNKED)
        for _ in range(3):
            writer.write(b"2\r\nok\r\n")
            await writer.drain()
            await asyncio.to_thread(go_on.acquire)
        writer.write(b"0\r\n\r\n")

    router = start_router(
        {"m": {"url": start_backend(stream).url, "responseTimeout": 50, "readTimeout": 20}}
    )

    def wait(begin: float, seconds: float) -> None:
        router.sweep_after(begin)
        router.sweep_after(begin + seconds)

    with Wire(router.port) as wire:
        wire.send(post(chat()))
        wait(0, 45)
        go_on.release()
        assert wire.head()[0] == 200
        for n in range(3):
            assert wire.chunk() == b"ok"
            wait(100 + 100 * n, 18)
            go_on.release()
        assert wire.chunk() == b""


def test_the_models_own_timeouts_count(
    start_backend: StartBackend, start_router: StartRouter, capfd: pytest.CaptureFixture[str]
) -> None:
    model = {"responseTimeout": 5, "readTimeout": 3}
    router = start_router(
        {
            "m": {"url": start_backend(stall(b"")).url, **model},
            "n": {"url": start_backend(stall(CHUNKED)).url, **model},
        }
    )
    with Wire(router.port) as wire, Wire(router.port) as other:
        wire.send(post(chat("m")))
        other.send(post(chat("n")))
        assert other.head()[0] == 200
        router.sweep_after(0)
        router.sweep_after(7)
        assert wire.response().status == 504
        assert other.at_end()
    said = capfd.readouterr().err
    assert "sent no response for 5 s" in said
    assert "sent nothing more for 3 s" in said


def flood(sent: threading.Event) -> Respond:
    """Send more than all buffers hold, and tell when the router takes no more."""

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        while True:
            writer.write(piece)
            drained = asyncio.ensure_future(writer.drain())
            done, _ = await asyncio.wait({drained}, timeout=0.5)
            if not done:
                sent.set()
            await drained

    return respond


def test_a_client_that_reads_nothing_is_cut_off_and_the_backend_freed(
    start_backend: StartBackend, start_router: StartRouter, capfd: pytest.CaptureFixture[str]
) -> None:
    stalled = threading.Event()
    backend = start_backend(flood(stalled))
    router = start_router({"m": {"url": backend.url, "readTimeout": 1}})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert stalled.wait(20)
        # The backend is not to blame for what the client does not take.
        for seconds in (0, 1, 50):
            router.sweep_after(seconds)
        assert not backend.gone.acquire(blocking=False)
        router.sweep_after(120)
        assert backend.gone.acquire(timeout=20)
        assert wire.head()[0] == 200
        with pytest.raises((ValueError, AssertionError, ConnectionError)):
            while wire.chunk():
                pass
    assert log_line(capfd) == "llmhop: client of model 'm' took nothing for 60 s"


def test_a_client_that_reads_slowly_is_waited_for(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    stalled = threading.Event()
    backend = start_backend(flood(stalled))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.head()[0] == 200
        for begin in range(0, 400, 100):
            assert stalled.wait(20)
            for seconds in (0, 1, 55):
                router.sweep_after(begin + seconds)
            stalled.clear()
            for _ in range(256):  # more than the buffers between the two hold
                assert len(wire.chunk()) == 0x10000
        assert not backend.gone.acquire(blocking=False)


@pytest.mark.parametrize(
    "respond",
    [shut(b""), shut(LENGTH), stall(b""), stall(CHUNKED), respond_bytes(LENGTH + b"123456789")],
)
def test_whatever_became_of_a_request_it_is_no_longer_counted(
    respond: Respond, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(respond)
    router = start_router({"m": {"url": backend.url, "maxConcurrent": 1, "maxQueued": 1}})
    (pool,) = router.server.models.all()["m"].pools
    gate = router.server.models.all()["m"].gate
    assert isinstance(gate, LocalGate)
    for _ in range(3):
        with Wire(router.port) as wire:
            wire.send(post(chat()))
            assert backend.arrived.acquire(timeout=20)
        wait_until(
            lambda: not router.thread.call(lambda: pool.outstanding or gate.active or gate.queued)
        )
