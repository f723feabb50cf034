"""The limit on connections over all clients, and what too few descriptors make of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from llmhop.observe.metric_layout import REFUSAL_INDEX

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.certificates import Authority
from tests.router.support.endpoints import (
    HEALTH,
    MODELS,
    OWN,
    Backend,
    LoopThread,
    Received,
    RunningRouter,
    Wire,
    ask,
    chat,
    post,
    respond_json,
    wait_until,
)
from tests.router.support.process import Run


def served(port: int) -> int:
    """The status that a new client gets."""
    return ask(port, HEALTH).status


def test_clients_beyond_the_limit_are_turned_away(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"}, maxConnections=3)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(3)]
        for wire in wires:
            wire.send(HEALTH)
            assert wire.response().status == 200
        for _ in range(200):
            with Wire(router.port) as wire:
                wire.send(HEALTH)
                response = wire.response()
                assert (response.status, response.error_code) == (503, "overloaded")
                assert response.headers["retry-after"] == "1"
                assert response.headers["connection"] == "close"
                wire.socket.shutdown(socket.SHUT_WR)
                assert wire.at_end()
        wires[0].close()
        wait_until(lambda: served(router.port) == 200)
        wires[1].send(b"GET /metrics HTTP/1.1\r\nHost: r\r\n\r\n")
        assert b'llmhop_refusals_total{reason="connections"} 2' in wires[1].response().body


def test_few_who_are_turned_away_have_time_to_read_it(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"}, maxConnections=1)
    turned_away = router.server._turned_away
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(200)]
        for wire in wires[1:]:
            assert wire.response().status == 503
        # The rest of them is closed at once.
        assert router.thread.call(lambda: len(turned_away)) == 128
    wait_until(lambda: router.thread.call(lambda: len(turned_away)) == 0)


@pytest.mark.parametrize("refused", [False, True], ids=["served", "turned away"])
def test_a_failed_handshake_gives_its_place_back(
    refused: bool, start_router: StartRouter, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    router = start_router({"m": "http://127.0.0.1:1"}, maxConnections=2, **authority.config())
    limit = router.server.connection_limit
    with ExitStack() as stack:
        plain = [stack.enter_context(Wire(router.port)) for _ in range(3 if refused else 2)]
        wait_until(lambda: router.thread.call(lambda: limit.taken) == 2)
        for wire in plain:
            wire.send(HEALTH)  # no TLS
    wait_until(lambda: router.thread.call(lambda: limit.taken) == 0)


def test_a_flood_of_tls_clients_takes_no_more_than_it_may(
    start_router: StartRouter, tmp_path: Path
) -> None:
    """None of them ends its handshake, and none is refused after one."""
    authority = Authority(tmp_path)
    router = start_router({"m": "http://127.0.0.1:1"}, maxConnections=2, **authority.config())
    server = router.server
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(200)]
        wait_until(lambda: refused_connections(router) == 198)
        assert router.thread.call(lambda: server._turned_away_limit.taken) == 128
        for wire in wires[130:]:
            assert wire.at_end()
        assert router.thread.call(lambda: len(server._tls_listeners[0]._handshakes)) == 130
    wait_until(lambda: router.thread.call(lambda: server._turned_away_limit.taken) == 0)
    wire = authority.wire(router.port)
    wire.send(HEALTH)
    assert wire.response().status == 200
    wire.close()


def refused_connections(router: RunningRouter) -> int:
    process = router.server.observer._metrics.process
    return router.thread.call(lambda: process[REFUSAL_INDEX["connections"]])


def test_without_a_descriptor_tls_clients_wait(start_router: StartRouter, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    router = start_router({"m": "http://127.0.0.1:1"}, **authority.config())
    (listener,) = router.server._tls_listeners
    accept = listener._sock.accept
    faults = [OSError(errno.EMFILE, "Too many open files")]

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(sock, name)

        def accept(self) -> object:
            if faults:
                raise faults.pop()
            return accept()

    sock = listener._sock
    router.thread.call(lambda: setattr(listener, "_sock", Full()))
    wire = authority.wire(router.port)
    assert not faults
    wire.send(HEALTH)
    assert wire.response().status == 200
    wire.close()


def test_a_client_gives_its_place_back_whoever_keeps_its_protocol(
    start_router: StartRouter,
) -> None:
    """uvloop keeps the last protocol that reads into memory of its own."""
    router = start_router({"m": "http://127.0.0.1:1"})
    with Wire(router.port) as wire:
        wire.send(post(b"x" * 1_000_000)[:500_000])
        wait_until(lambda: router.thread.call(lambda: router.server.budget.held) > 400_000)
    wait_until(lambda: router.thread.call(lambda: router.server.connection_limit.taken) == 0)


_FEW_FILES = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
os.execv(sys.executable, [sys.executable, "-m", "llmhop", *sys.argv[1:]])
"""


def test_few_descriptors_are_enough_for_each_client_at_every_backend(
    tmp_path: Path, loop_thread: LoopThread
) -> None:
    """Idle connections of ten backends would be more than there are descriptors."""
    most, urls = 32, 10
    together = asyncio.Barrier(most)

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        await together.wait()
        await respond_json(request, writer)

    everywhere = "0.0.0.0"  # noqa: S104 - for all of 127.0.0.0/8
    backend = Backend(loop_thread, respond, host=everywhere).start()
    models = {f"m{n}": {"url": f"http://127.0.0.{n + 1}:{backend.port}"} for n in range(urls)}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**OWN, "models": models}))
    command = [sys.executable, "-c", _FEW_FILES, "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert f"(LimitNOFILE=) allows {most}" in line
            port = int(process.stderr.readline().rsplit(":", 1)[1])
            with ExitStack() as stack:
                wires = [stack.enter_context(Wire(port)) for _ in range(most)]
                for model in models:
                    for wire in wires:
                        wire.send(post(chat(model)))
                    assert [wire.response().status for wire in wires] == [200] * most
        finally:
            process.terminate()
            backend.stop()


def test_few_descriptors_make_fewer_places_and_never_an_end(
    tmp_path: Path, start_backend: StartBackend
) -> None:
    config = {**OWN, "models": {"m": {"url": start_backend().url}}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**config, "maxConnections": 1000}))
    command = [sys.executable, "-c", _FEW_FILES, "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "of 1000 connections the limit of open files (LimitNOFILE=) allows 32" in line
            port = int(process.stderr.readline().rsplit(":", 1)[1])
            with ExitStack() as stack:
                wires = [stack.enter_context(Wire(port)) for _ in range(600)]
                statuses = []
                for wire in wires:
                    with contextlib.suppress(OSError, AssertionError):
                        wire.send(post(chat()))
                        statuses.append(wire.response().status)
                assert statuses.count(200) == 32
                assert set(statuses) == {200, 503}
            wait_until(lambda: served(port) == 200)
        finally:
            process.kill()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_fewer_places_than_asked_for_are_told_once_by_all_processes(workers: int, run: Run) -> None:
    config = {"models": MODELS, "workers": workers, "maxConnections": 1000}
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))"
    process = run(config, before=few)
    places = 32 * workers
    said = f"of 1000 connections the limit of open files (LimitNOFILE=) allows {places}\n"
    assert process.started.endswith(said)
    process.reload()
    process.write({**config, "listen": "127.0.0.1:0", "maxConnections": places})
    process.reload()
    assert process.end().count("LimitNOFILE") == 1, "the first reload said it"


@pytest.mark.parametrize("workers", [1, 2, 3], ids=["one", "even", "uneven"])
def test_the_hard_limit_counts_and_not_what_a_shell_gives(workers: int, run: Run) -> None:
    config = {"models": MODELS, "workers": workers, "maxConnections": 1000}
    soft = "from resource import *; n = RLIMIT_NOFILE; setrlimit(n, (256, getrlimit(n)[1]))"
    assert " serves 1 model" in run(config, before=soft).started


@pytest.mark.parametrize("workers", [1, 2])
def test_too_few_descriptors_for_one_client_are_told(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(
            {"listen": "127.0.0.1:0", "models": {"m": {"url": "http://h"}}, "workers": workers}
        )
    )
    for few in range(8, 200, 48):
        code = _FEW_FILES.replace("256", str(few))
        done = subprocess.run(
            [sys.executable, "-c", code, "--config", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        said = (
            f"LimitNOFILE: allows {few} open files, and llmhop needs 194: 192 of its own and 2 for "
            "each client; raise it"
        )
        assert done.stderr.startswith(said)
        assert len(done.stderr.splitlines()) == 1
