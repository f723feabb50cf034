"""Many clients, slow ones, large bodies: memory stays bounded, and nothing is left behind."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import HEALTH, TIMEOUT, Received, Wire, chat, post, wait_until
from tests.router.support.process import Process, Run

MANY = 9_000
NEEDED = 2 * MANY + 200  # llmhop keeps one for the backend of each client
KB, MB = 1024, 1024 * 1024
# Closing a socket with these resets its connection.
AT_ONCE = struct.pack("ii", 1, 0)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Lets this process, and the routers that it starts, open as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= NEEDED, f"{NEEDED} open files are needed; see ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors(process: Process) -> int:
    """How many files and sockets the process has open."""
    return len(list(Path(f"/proc/{process.process.pid}/fd").iterdir()))


def descriptors_unused(process: Process) -> int:
    """How many it has open when nobody is connected."""
    with Wire(process.port) as wire:
        wire.send(HEALTH.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        assert wire.response().status == 200
        assert wire.at_end()
    return descriptors(process)


def in_chunks(body: bytes) -> bytes:
    """A request with its body in chunks of 50 KB."""
    start = b"POST /v1/x HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    return start + b"".join([b"%x\r\n%b\r\n" % (len(p), p) for p in pieces]) + b"0\r\n\r\n"


def serve_once(port: int) -> None:
    """One client that comes, is answered by the backend, and goes."""
    with Wire(port) as wire:
        wire.send(post(chat()))
        assert wire.response().body == chat()


@pytest.mark.usefixtures("many_descriptors")
def test_nine_thousand_idle_connections_hold_up_nobody_and_leave_nothing(
    run: Run, start_backend: StartBackend
) -> None:
    # A short life for idle connections to the backend, so that these are not counted.
    model = {"url": start_backend().url, "idleTimeout": 0.1}
    process = run({"models": {"m": model}})
    before, memory_before = descriptors_unused(process), process.memory()
    with ExitStack() as stack:
        clients = []
        for _ in range(MANY):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", process.port)))
            client.sendall(HEALTH)
            clients.append(client)
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert descriptors(process) >= before + MANY
        assert process.memory() - memory_before < MANY * 10 * KB
        serve_once(process.port)
    wait_until(lambda: descriptors(process) == before)
    serve_once(process.port)


@pytest.mark.usefixtures("many_descriptors")
def test_bodies_that_are_only_announced_take_no_memory(
    run: Run, start_backend: StartBackend
) -> None:
    process = run({"models": {"m": {"url": start_backend().url, "idleTimeout": 0.1}}})
    before, memory_before = descriptors_unused(process), process.memory()
    start = b"POST /v1/x HTTP/1.1\r\nHost: r\r\nContent-Length: 90000000\r\n\r\n"
    with ExitStack() as stack:
        for sent in (start, start + b"{", start + b" " * 4000):
            for _ in range(500):
                client = socket.create_connection(("127.0.0.1", process.port))
                stack.enter_context(client).sendall(sent)
        # This one is read after them.
        serve_once(process.port)
        assert process.memory() - memory_before < 1500 * 40 * KB
    wait_until(lambda: descriptors(process) == before)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_a_body_of_100_mb_is_relayed_and_its_memory_given_back(
    chunked: bool, run: Run, start_backend: StartBackend
) -> None:
    async def digest(request: Received, writer: asyncio.StreamWriter) -> None:
        found = hashlib.sha256(request.body).hexdigest().encode()
        request.body = b""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + found)

    process = run({"models": {"m": {"url": start_backend(digest).url}}})
    body = b'{"model":"m","x":"' + b"x" * (100_000_000 - 20) + b'"}'
    assert len(body) == 100_000_000
    expected = hashlib.sha256(body).hexdigest().encode()
    raw = in_chunks(body) if chunked else post(body)
    memory_before = process.memory()
    with Wire(process.port) as wire:
        for _ in range(3):
            wire.send(raw)
            assert wire.response().body == expected
            # Given back though the client is still there.
            assert process.memory() - memory_before < 40 * MB
    # While it grows, a body is there once and in part once more.
    assert process.memory("VmHWM") - memory_before < 220 * MB


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_clients_that_leave_mid_stream_leave_nothing(
    run: Run, start_backend: StartBackend
) -> None:
    async def stream(request: Received, writer: asyncio.StreamWriter) -> None:
        if b'"stream"' not in request.body:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await request.reader.read()

    backend = start_backend(stream)
    process = run({"models": {"m": {"url": backend.url, "idleTimeout": 0.1}}})
    before, memory_before = descriptors_unused(process), process.memory()
    for _ in range(2):
        wires = []
        for _ in range(1000):
            wire = Wire(process.port)
            wire.send(post(b'{"model":"m","stream":true}'))
            wires.append(wire)
        for number, wire in enumerate(wires):
            assert wire.head()[0] == 200
            assert wire.chunk() == b"ok"
            if number % 2:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        assert descriptors(process) >= before + 2000
        for wire in wires:
            wire.close()
        # The backend hears of each, so no engine works for nobody.
        for _ in wires:
            assert backend.gone.acquire(timeout=TIMEOUT)
        wait_until(lambda: descriptors(process) == before)
    assert process.memory() - memory_before < 40 * MB
    with Wire(process.port) as wire:
        wire.send(post(chat()))
        assert wire.response().body == b"ok"


def test_clients_that_never_finish_are_refused_and_leave_nothing(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    tasks = router.thread.call(lambda: len(asyncio.all_tasks()))
    request = post(chat())
    # Within the request line, within a field, before the end of the head, and without its body.
    cuts = (3, 60, request.index(b"\r\n\r\n") + 3, len(request) - 1)
    with ExitStack() as stack:
        slow = [stack.enter_context(Wire(router.port)) for _ in range(400)]
        for number, wire in enumerate(slow):
            wire.send(request[: cuts[number % len(cuts)]])
        serve_once(router.port)
        router.sweep_after(61)
        for wire in slow:
            assert wire.response().status == 408
            assert wire.at_end()
    wait_until(lambda: not router.thread.call(lambda: len(router.server.clients)))
    assert router.thread.call(lambda: len(asyncio.all_tasks())) == tasks
    assert len(backend.requests) == 1


def test_a_router_out_of_descriptors_serves_again_when_clients_leave(
    run: Run, start_backend: StartBackend
) -> None:
    process = run({"models": {"m": {"url": start_backend().url}}})
    serve_once(process.port)
    few = descriptors(process) + 20
    resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE, (few, few))
    with ExitStack() as stack:
        held = [stack.enter_context(Wire(process.port)) for _ in range(60)]
        held[0].send(HEALTH)
        assert held[0].response().status == 200, "who is in is served"
    # Those that were not let in are told so, now or later, and are no matter.
    wait_until(lambda: descriptors(process) < few - 5)
    serve_once(process.port)
