"""A model's limit over several processes: one limit and one queue for all of them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from llmhop.limits import METRICS_S

from tests.router.conftest import StartBackend
from tests.router.support.backends.engine import Engine, limited, numbered, numbers
from tests.router.support.endpoints import TIMEOUT, Backend, Wire, chat, post, wait_until
from tests.router.support.process import Process, Run
from tests.router.support.scrape import Scrape
from tests.router.support.workers import has_ended, workers


def statuses(wires: list[Wire]) -> list[int]:
    """The status of each response, as they come."""
    return [wire.response().status for wire in wires]


def wait_until_queued(process: Process, count: int) -> None:
    """Wait until so many wait in all workers together."""
    wait_until(lambda: Scrape(process.port).value("llmhop_requests_queued", model="m") == count)


def send_at_once(stack: ExitStack, process: Process, backend: Backend, count: int) -> list[Wire]:
    """Send so many requests, of which one comes to the backend and the others wait."""
    wires = [stack.enter_context(Wire(process.port)) for _ in range(count)]
    for wire in wires:
        wire.send(post(chat()))
    assert backend.arrived.acquire(timeout=TIMEOUT)
    wait_until_queued(process, count - 1)
    return wires


@pytest.mark.parametrize("most", [1, 3])
def test_all_workers_together_keep_to_the_limit(
    run: Run, start_backend: StartBackend, most: int
) -> None:
    engine = Engine()
    backend = start_backend(engine.respond)
    process = run({"models": limited(backend, most), "workers": 4})
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(process.port)) for _ in range(40)]
        for wire in wires:
            wire.send(post(chat()))
        for _ in wires:
            assert backend.arrived.acquire(timeout=TIMEOUT)
            engine.go_on.release()
        assert statuses(wires) == [200] * 40
    assert engine.most == most


def test_the_queue_of_all_workers_is_one(run: Run, start_backend: StartBackend) -> None:
    engine = Engine()
    backend = start_backend(engine.respond)
    process = run({"models": limited(backend, 1, maxQueued=20), "workers": 4})
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(process.port)) for _ in range(21)]
        for number, wire in enumerate(wires):
            wire.send(post(numbered(number)))
            if not number:
                assert backend.arrived.acquire(timeout=TIMEOUT)
                continue
            wait_until_queued(process, number)
        # There are 21 of them, wherever the next one comes.
        for _ in range(8):
            with Wire(process.port) as wire:
                wire.send(post(numbered(99)))
                response = wire.response()
                assert (response.status, response.error_code) == (429, "rate_limit_exceeded")
                assert response.headers["retry-after"] == "1"
        for _ in wires:
            engine.go_on.release()
        assert statuses(wires) == [200] * 21
    assert numbers(backend) == list(range(21)), "first in, first out"
    assert engine.most == 1


def test_a_worker_that_is_killed_gives_back_what_it_held_and_waited_for(
    run: Run, start_backend: StartBackend
) -> None:
    engine = Engine()
    backend = start_backend(engine.respond)
    process = run({"models": limited(backend, 1), "workers": 3})
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(process.port)) for _ in range(30)]
        wires[0].send(post(numbered(0)))
        assert backend.arrived.acquire(timeout=TIMEOUT)
        for wire in wires[1:]:
            wire.send(post(numbered(1)))
        wait_until_queued(process, 29)
        held = holder(backend, workers(process))
        os.kill(held, signal.SIGKILL)
        wait_until(lambda: has_ended(held))
        engine.go_on.release(30)
        served = [answered(wire) for wire in wires]
        assert not served[0]
        assert any(served), "those of the others"
        with Wire(process.port) as wire:
            engine.go_on.release()
            wire.send(post(chat()))
            assert wire.response().status == 200
    assert engine.most == 1


def answered(wire: Wire) -> bool:
    """Whether a response comes, or the end of the connection."""
    try:
        if wire.at_end(consume=False):
            return False
    except ConnectionError:
        return False
    return wire.response().status == 200


def holder(backend: Backend, pids: list[int]) -> int:
    """The one of the processes that is connected to a backend."""
    found = [pid for pid in pids if connected(pid, backend.port)]
    assert len(found) == 1
    return found[0]


def connected(pid: int, port: int) -> bool:
    """Whether a process has a connection to a port."""
    table = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii")
    lines = [line.split() for line in table.splitlines()][1:]
    inodes = {line[9] for line in lines if line[2].endswith(f":{port:04X}")}
    links = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return any(f"socket:[{inode}]" in links for inode in inodes)


def test_a_client_that_leaves_the_queue_or_its_place_makes_room_in_every_worker(
    run: Run, start_backend: StartBackend
) -> None:
    engine = Engine()
    backend = start_backend(engine.respond)
    process = run({"models": limited(backend, 1, maxQueued=1), "workers": 4})

    with Wire(process.port) as last:
        with Wire(process.port) as running:
            running.send(post(numbered(0)))
            assert backend.arrived.acquire(timeout=TIMEOUT)
            for _ in range(8):
                with Wire(process.port) as leaving:
                    leaving.send(post(numbered(1)))
                    wait_until_queued(process, 1)
                wait_until_queued(process, 0)
            time.sleep(METRICS_S)  # an older page may say so while one is still there
            wait_until_queued(process, 0)
            last.send(post(numbered(2)))
            wait_until_queued(process, 1)
        assert backend.gone.acquire(timeout=TIMEOUT)
        assert backend.arrived.acquire(timeout=TIMEOUT)
        engine.go_on.release()
        assert last.response().body == numbered(2)
    assert numbers(backend) == [0, 2]


def test_a_reload_that_removes_a_model_lets_nobody_loose(
    run: Run, start_backend: StartBackend
) -> None:
    engine = Engine()
    backend = start_backend(engine.respond)
    for count in (1, 3):
        process = run({"models": limited(backend, 1), "workers": count})
        with ExitStack() as stack:
            wires = send_at_once(stack, process, backend, 12)
            other = {"models": {"x": {"url": "http://h"}}, "workers": count}
            process.write({**other, "listen": "127.0.0.1:0"})
            process.reload()
            with Wire(process.port) as late:
                late.send(post(chat()))
                assert late.response().status == 404
            engine.go_on.release(12)
            assert statuses(wires) == [200] * 12
        assert engine.most == 1
        process.end()


def test_a_reload_changes_the_limit_of_all_workers_together(
    run: Run, start_backend: StartBackend
) -> None:
    engine = Engine()
    backend = start_backend(engine.respond)
    process = run({"models": limited(backend, 1), "workers": 3})
    with ExitStack() as stack:
        wires = send_at_once(stack, process, backend, 12)
        for most in (4, 7):
            config = {"models": limited(backend, most), "workers": 3}
            process.write({**config, "listen": "127.0.0.1:0"})
            process.reload()
            wait_until(lambda: engine.running == most)  # noqa: B023
        process.write({"models": {"m": {"url": backend.url}}, "listen": "127.0.0.1:0"})
        process.reload()
        wait_until(lambda: engine.running == 12)
        engine.go_on.release(12)
        assert statuses(wires) == [200] * 12


def test_without_its_supervisor_a_worker_keeps_nobody_waiting(
    run: Run, start_backend: StartBackend
) -> None:
    engine = Engine()
    backend = start_backend(engine.respond)
    process = run({"models": limited(backend, 1), "workers": 2})
    with ExitStack() as stack:
        wires = send_at_once(stack, process, backend, 8)
        process.process.kill()
        engine.go_on.release()
        found = [wire.response() for wire in wires]
    refused = [response for response in found if response.status != 200]
    assert len(refused) == 7
    assert {response.error_code for response in refused} == {"shutting_down"}
    assert {response.headers["retry-after"] for response in refused} == {"1"}


@pytest.mark.parametrize(("engines", "peers"), [(0, 1), (1, 1), (1, 0)])
@pytest.mark.parametrize("workers", [1, 2])
def test_only_a_host_with_an_engine_of_its_own_has_no_request_of_another_wait(
    run: Run, start_backend: StartBackend, workers: int, engines: int, peers: int
) -> None:
    """Only that one may be what the other host falls back to, and wait for it in turn."""
    engine = Engine()
    backend = start_backend(engine.respond)
    urls = [backend.url] * engines + [f"{backend.url}/route/m{n}" for n in range(peers)]
    model = {"urls": urls, "maxConcurrent": 1}
    process = run({"models": {"m": model}, "workers": workers})
    relayed = post(chat(), "/v1/x", "Via: 1.1 llmhop-0123456789abcdef")
    with Wire(process.port) as first, Wire(process.port) as second, Wire(process.port) as third:
        first.send(relayed)
        assert backend.arrived.acquire(timeout=TIMEOUT), "there is a place for it"
        second.send(post(chat()))
        wait_until_queued(process, 1)
        third.send(relayed)
        if engines and peers:
            assert third.response().error_code == "rate_limit_exceeded"
            third.send(post(chat()))
        wait_until_queued(process, 2)
        engine.go_on.release(3)
        assert statuses([first, second, third]) == [200] * 3
