"""Fixtures of the router's tests."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from llmhop.log.logger import LOG
from llmhop.models.gate import Gates
from llmhop.upstream import connect as connecting

from tests.router.support.backends.fleet import Fleet, Host
from tests.router.support.endpoints import (
    OWN,
    TIMEOUT,
    Backend,
    LoopThread,
    Respond,
    RunningRouter,
    respond_json,
)
from tests.router.support.fakes.router import FakeRouter
from tests.router.support.process import Process, Run

StartBackend = Callable[..., Backend]
StartRouter = Callable[..., RunningRouter]
StartFake = Callable[..., FakeRouter]


@pytest.fixture
def start_fake() -> Iterator[StartFake]:
    """Starts routers on fake transports; `m` is a model that serves one request at once."""
    routers: list[FakeRouter] = []
    models = {"m": {"url": "http://127.0.0.1:1", "maxConcurrent": 1}}

    def start(gates: Gates | None = None, **config: Any) -> FakeRouter:
        routers.append(FakeRouter({"models": models, **config}, 500, gates))
        return routers[-1]

    yield start
    for router in routers:
        router.event(router.server.close)
        router.close()


@pytest.fixture(autouse=True)
def own_log() -> None:
    """Lets the log begin anew: what another test said often is said again."""
    LOG.forked()


@pytest.fixture
def fresh_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has routers in this process make a page of metrics for each who asks."""
    monkeypatch.setattr("llmhop.process.server.METRICS_S", 0.0)


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    """An event loop for backends."""
    thread = LoopThread()
    yield thread
    thread.stop()


@pytest.fixture
def start_backend(loop_thread: LoopThread) -> Iterator[StartBackend]:
    """Starts backends; stops them at the end."""
    backends: list[Backend] = []

    def start(
        respond: Respond = respond_json, *, tls: Any = None, path: Path | None = None
    ) -> Backend:
        backend = Backend(loop_thread, respond, tls=tls, path=path).start()
        backends.append(backend)
        return backend

    yield start
    for backend in backends:
        backend.stop()


@pytest.fixture
def start_router() -> Iterator[StartRouter]:
    """Starts routers, each in a thread of its own, by model name and backend, URL or config."""
    routers: list[RunningRouter] = []

    def start(
        backends: Mapping[str, Backend | str | dict[str, Any]], **config: Any
    ) -> RunningRouter:
        models = {name: model_config(backend) for name, backend in backends.items()}
        router = RunningRouter(LoopThread(), {"models": models, **config})
        routers.append(router)
        return router

    yield start
    for router in routers:
        router.stop()
        router.thread.stop()


def model_config(backend: Backend | str | dict[str, Any]) -> dict[str, Any]:
    """What stands for a backend in a config."""
    if isinstance(backend, dict):
        return backend
    return {"url": backend if isinstance(backend, str) else backend.url}


@pytest.fixture(params=["", "/route/m"], ids=["host", "model"])
def fleet(
    start_backend: StartBackend, start_router: StartRouter, request: pytest.FixtureRequest
) -> Fleet:
    """A fleet whose front knows the hosts, or the model on each, which is what eval writes."""
    hosts = [
        Host(engine, start_router({"m": engine.url})) for engine in (start_backend() for _ in "ab")
    ]
    urls = [host.router.url + request.param for host in hosts]
    return Fleet(hosts, start_router({"m": {"urls": urls, "aliases": ["alias"]}}))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts the command on a config; ends it at the end."""
    processes: list[Process] = []

    def start(
        config: dict[str, Any],
        sockets: Any = (),
        before: str = "",
        redirect: str = "",
        streams: Mapping[str, int] | None = None,
        **environment: str,
    ) -> Process:
        config = {**OWN, **config}
        process = Process(tmp_path, config, environment, sockets, before, redirect, streams)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.end()


@pytest.fixture
def trusted_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
    """An authority that the system here trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    # What OpenSSL reads for the system's authorities.
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    connecting.tls_context.cache_clear()
    yield authority
    connecting.tls_context.cache_clear()


class FullListener:
    """A backend whose queue of connections is full: connecting to it hangs until `accept`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._fillers = [socket.socket() for _ in range(4)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
        self._accepted: list[socket.socket] = []

    def accept(self) -> socket.socket:
        """Make room, and return the first connection that is none of the fillers."""
        ports = {filler.getsockname()[1] for filler in self._fillers}
        self._listener.settimeout(TIMEOUT)
        while True:
            connection, (_, port) = self._listener.accept()
            self._accepted.append(connection)
            if port not in ports:
                connection.settimeout(TIMEOUT)
                return connection

    def has_more(self) -> bool:
        """Whether another connection waits."""
        return bool(select.select([self._listener], [], [], 0)[0])

    def close(self) -> None:
        for sock in (self._listener, *self._fillers, *self._accepted):
            sock.close()


@pytest.fixture
def full_listener() -> Iterator[FullListener]:
    """A listener to which connecting hangs."""
    listener = FullListener()
    yield listener
    listener.close()


@pytest.fixture
def hanging(full_listener: FullListener) -> str:
    """The URL of a backend to which connecting hangs."""
    return full_listener.url
