"""Real parts for the router's tests: a router in a thread, scripted backends, a raw client."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop
from llmhop.config.config import Config
from llmhop.config.parser import parse
from llmhop.config.tls import load_certificate
from llmhop.process.server import Server

TIMEOUT = 20.0  # far beyond what anything here takes; a test that waits this long fails

HEALTH = b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n"
OWN: dict[str, Any] = {"listen": "127.0.0.1:0", "allowedHosts": ["*"]}
"""A port that the kernel chooses, and any Host: what is tested is mostly no browser's business."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MODELS = {"m": {"url": "http://127.0.0.1:1"}}
"""A model whose backend is not there."""
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
"""A response whose end is missing."""

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(TIMEOUT)

    def _run(self) -> None:
        with self._runner:
            self.loop = self._runner.get_loop()
            self._stopped = asyncio.Event()
            self.loop.call_soon(self._ready.set)
            self._runner.run(self._wait())

    async def _wait(self) -> None:
        await self._stopped.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(TIMEOUT)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function there and return its result."""

        async def work() -> T:
            return function()

        return self.run(work())

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()


@dataclass
class Received:
    """A request as a backend got it, and what its connection may still bring."""

    head: bytes
    body: bytes
    reader: asyncio.StreamReader

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    def values(self, name: str) -> list[str]:
        """All values of a header, in order."""
        lines = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        return [v.strip().decode() for n, _, v in lines if n.lower() == name.lower().encode()]


Respond = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


async def respond_json(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer as an engine would, in short: the body that came."""
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(request.body)}"
    )
    writer.write(head.encode() + b"\r\n\r\n" + request.body)
    await writer.drain()


def respond_bytes(raw: bytes, *, close: bool = False) -> Respond:
    """Answer every request with exactly these bytes, and perhaps close."""

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        if close:
            writer.close()

    return respond


def respond_in_two(begin: bytes, go_on: threading.Event, rest: bytes) -> Respond:
    """Begin a response, and end it when told to."""

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        await writer.drain()
        await asyncio.to_thread(go_on.wait)
        writer.write(rest)

    return respond


async def hold(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer nothing, until the router goes."""
    await request.reader.read()


def stall(raw: bytes) -> Respond:
    """Send this and then nothing, until the router goes."""

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await request.reader.read()

    return respond


@dataclass
class Backend:
    """A backend on loopback that records what it gets and answers as told."""

    thread: LoopThread
    respond: Respond = respond_json
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    gone: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    port: int = 0
    tls: Any = None
    host: str = "127.0.0.1"
    path: Path | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> Self:
        async def start() -> None:
            if self.path is not None:
                self._server = await asyncio.start_unix_server(self._serve, self.path)
                return
            self._server = await asyncio.start_server(
                self._serve, self.host, self.port, ssl=self.tls, limit=2**20
            )
            self.port = self._server.sockets[0].getsockname()[1]

        self.thread.run(start())
        return self

    def stop(self) -> None:
        """Stop listening and drop every connection."""

        async def stop() -> None:
            if self._server is not None:
                self._server.close()
            self.drop()

        self.thread.run(stop())

    def drop(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    def close_connections(self) -> None:
        """Close every open connection in good order."""

        def close() -> None:
            for writer in list(self._open):
                writer.close()

        self.thread.call(close)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                request = Received(head, b"", reader)
                length = request.values("content-length")
                request.body = await reader.readexactly(int(length[0])) if length else b""
                self.requests.append(request)
                self.arrived.release()
                await self.respond(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()
            self.gone.release()


def check(config: dict[str, Any]) -> Config:
    """Check a config whose secrets stand as they are."""
    return parse(config, lambda text: text, lambda cert, key: load_certificate(cert, key, {}))


class RunningRouter:
    """A router in a thread, on a port that the kernel chose."""

    def __init__(self, thread: LoopThread, config: dict[str, Any]) -> None:
        self.thread = thread
        checked = check({**OWN, **config})

        async def start() -> Server:
            server = Server(checked)
            await server.start()
            return server

        self.server = thread.run(start())
        self.port = int(self.server.addresses[0].rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reload(self, config: dict[str, Any]) -> None:
        checked = check({**OWN, **config})
        self.thread.call(lambda: self.server.reload(checked))

    def sweep_after(self, seconds: float) -> None:
        """Sweep as the timer will in so many seconds."""
        self.thread.call(lambda: self.server.sweep(self.thread.loop.time() + seconds))

    def let_time_pass(self) -> None:
        """Let the sweep see that nothing moves, for less than a timeout and then for longer."""
        for seconds in (0, 590, 602):
            self.sweep_after(seconds)

    def stop(self) -> None:
        self.thread.run(self.server.drain(0))


@dataclass
class Response:
    """A response as a client got it, chunks taken off."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error_code(self) -> object:
        return self.error["code"]

    @property
    def error(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)["error"]
        assert sorted(found) == ["code", "message", "param", "request_id", "type"]
        assert found["request_id"] == self.headers["x-request-id"]
        return found


class Wire:
    """A client that sends raw bytes and reads responses strictly."""

    def __init__(
        self, port: int | socket.socket, host: str = "127.0.0.1", source: str = ""
    ) -> None:
        """Connect to a port, from the address `source`, or take a socket that is connected."""
        address = (source, 0) if source else None
        self.socket = (
            socket.create_connection((host, port), TIMEOUT, address)
            if isinstance(port, int)
            else port
        )
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read one head."""
        line = self.file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers: dict[str, str] = {}
        while (field_line := self.file.readline()) != b"\r\n":
            assert field_line.endswith(b"\r\n"), field_line
            name, _, value = field_line.decode().partition(":")
            assert name.lower() not in headers, f"{name} came twice"
            headers[name.lower()] = value.strip()
        return int(line.split()[1]), headers

    def chunk(self) -> bytes:
        """Read one chunk; empty at the end of the body, behind the trailers."""
        size = int(self.file.readline().partition(b";")[0], 16)
        data = self.file.read(size)
        line = self.file.readline()
        while line != b"\r\n":
            assert not data, line
            assert b":" in line
            line = self.file.readline()
        return data

    def response(self, *, to_head: bool = False) -> Response:
        """Read one whole response."""
        status, headers = self.head()
        if to_head or status in (204, 304) or status < 200:
            return Response(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while chunk := self.chunk():
                body += chunk
            return Response(status, headers, body)
        if "content-length" in headers:
            body = self.file.read(int(headers["content-length"]))
            assert len(body) == int(headers["content-length"]), "the body was cut short"
            return Response(status, headers, body)
        return Response(status, headers, self.file.read())

    def at_end(self, *, consume: bool = True) -> bool:
        """Whether the router closed, with nothing more to read."""
        try:
            return (self.file.read(1) if consume else self.file.peek(1)) == b""
        except ConnectionResetError:
            return True


def ask(port: int, raw: bytes) -> Response:
    """What a new client gets for one request."""
    with Wire(port) as wire:
        wire.send(raw)
        return wire.response()


def post(body: bytes, path: str = "/v1/chat/completions", *headers: str) -> bytes:
    """A request as clients send it."""
    lines = [f"POST {path} HTTP/1.1", "Host: router", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chat(model: str = "m") -> bytes:
    """A chat request's body."""
    return b'{"messages":[{"role":"user","content":"Hi"}],"model":"%b"}' % model.encode()


def wait_until(holds: Callable[[], object]) -> None:
    """Wait for what no event tells; fails after a time that nothing takes."""
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)
