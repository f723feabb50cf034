"""Whatever fails in one client, pool, record or step, the timers go on and serve the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from llmhop.client.connection import ClientConnection
from llmhop.observe.metric_layout import BYTES_IN, BYTES_OUT, IN_FLIGHT, RELOADS, STATUS, STATUSES
from llmhop.observe.metric_store import Row
from llmhop.observe.request_record import EndedRequest, RequestRecord
from llmhop.process.server import Server
from llmhop.process.timer import Timer
from llmhop.upstream.recovery import Recovery
from llmhop.upstream.resolver import Resolver

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import (
    HALF,
    HEALTH,
    TIMEOUT,
    LoopThread,
    Wire,
    chat,
    post,
    stall,
    wait_until,
)
from tests.router.support.process import Run

# Each is run in the process before llmhop. What fails, fails for good. (What compiled modules call
# within themselves can't be replaced; that is for the tests below.)
FAULTS = {
    "a client's check": """
import llmhop.client.connection as module
real = module.ClientConnection.check_deadline
def check(self, now):
    if self.record._path == "/v1/bad":
        raise ZeroDivisionError("fault")
    real(self, now)
module.ClientConnection.check_deadline = check
""",
    "all pools' sweep": """
import llmhop.upstream.pool as module
def sweep(self, now): raise ZeroDivisionError("fault")
module.Pools.sweep = sweep
""",
    "the observer": """
import llmhop.observe.observer as module
def sweep(self, records, buffered_bytes): raise ZeroDivisionError("fault")
module.Observer.sweep = sweep
""",
    "the access log": """
import llmhop.observe.access_log as module
def flush(self): raise ZeroDivisionError("fault")
module.AccessLog.flush = flush
""",
    "counting": """
import llmhop.observe.metric_layout as module
def bisect(bounds, time): raise ZeroDivisionError("fault")
module.bisect_left = bisect
""",
}


@pytest.mark.parametrize(
    ("what", "workers"), [*((what, 1) for what in FAULTS), ("a client's check", 2), ("counting", 2)]
)
def test_a_fault_ends_no_timer(
    what: str, workers: int, run: Run, start_backend: StartBackend
) -> None:
    stalls = start_backend(stall(HALF))
    models = {"m": {"url": stalls.url, "readTimeout": 1}}
    process = run({"models": models, "workers": workers}, before=FAULTS[what])
    for _ in range(2):
        with Wire(process.port) as bad, Wire(process.port) as good:
            bad.send(post(chat(), "/v1/bad"))
            good.send(post(chat()))
            for wire in (bad, good):
                assert wire.head()[0] == 200
                assert wire.file.read() == b"half"
    with Wire(process.port) as wire:
        wire.send(HEALTH)
        assert wire.response().status == 200
    process.stop()
    assert process.process.wait(20) == 0
    log = process.end()
    assert "failed with ZeroDivisionError" in log
    assert "ZeroDivisionError: fault" in log
    assert "sent nothing more for 1 s" in log
    if what == "a client's check":
        ends = [line.rpartition("=")[2] for line in process.lines() if "/v1/bad" in line]
        assert ends == ["internal_error"] * 2


def test_only_the_client_whose_check_fails_is_cut_off(
    start_router: StartRouter, start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    wires = [Wire(router.port) for _ in range(5)]
    for wire in wires:
        wire.send(post(chat()))
        wire.response()
    real = ClientConnection.check_deadline
    bad = sorted(router.server.clients, key=lambda c: c.record.request_id)[2]

    def check(client: ClientConnection, now: float) -> None:
        if client is bad:
            raise ZeroDivisionError("fault")
        real(client, now)

    monkeypatch.setattr(ClientConnection, "check_deadline", check)
    router.sweep_after(0)
    wait_until(lambda: bad not in router.server.clients)
    served = 0
    for wire in wires:
        wire.send(post(chat()))
        if not wire.at_end(consume=False):
            assert wire.response().status == 200
            served += 1
        wire.close()
    assert served == 4


NAMES = ("one", "two", "three")


@pytest.fixture
def server(start_router: StartRouter, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A router of three models whose names are looked up, to no end."""
    monkeypatch.setattr(Resolver, "_resolve", lambda *_: None)
    models: dict[str, Any] = {name: {"url": f"http://{name}:1", "resolve": 1000} for name in NAMES}
    return start_router(models, accessLog="json").server


def run_in_loop(server: Server, work: Callable[[], object]) -> None:
    """Run `work` in the thread of a router, to its end."""

    async def run() -> None:
        work()

    asyncio.run_coroutine_threadsafe(run(), server._loop).result(TIMEOUT)


@pytest.mark.parametrize("bad", range(3))
@pytest.mark.parametrize("kind", ["pool", "replica"])
def test_one_that_can_not_be_asked_keeps_no_other_from_being_asked(
    kind: str, bad: int, server: Server
) -> None:
    asked = [False] * 3

    async def ask(number: int) -> bool:
        asked[number] = True
        return False

    def fail() -> Any:
        raise ZeroDivisionError("fault")

    def work() -> None:
        for number, backend in enumerate(server.models.all().values()):
            [replica] = backend.replicas
            owner = replica.pool if kind == "pool" else replica
            question = fail if number == bad else partial(ask, number)
            owner._recovery = Recovery(question, server._loop)
            owner._recovery.failed()
        server.sweep(server._loop.time() + 100)

    run_in_loop(server, work)
    wait_until(lambda: sum(asked) == 2)
    assert not asked[bad]


def test_a_name_that_can_not_be_looked_up_keeps_no_other_from_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def look_up(_self: Resolver, host: str, *_: object) -> None:
        seen.append(host)
        raise ZeroDivisionError("fault")

    monkeypatch.setattr(Resolver, "_resolve", look_up)
    run_in_loop(server, lambda: server.sweep(server._loop.time()))
    assert set(seen) == set(NAMES)


@pytest.mark.parametrize("bad", NAMES)
def test_what_can_not_be_published_keeps_nothing_else_back(bad: str, server: Server) -> None:
    observer = server.observer

    def work() -> None:
        for name in NAMES:
            row = observer.row(name, "")
            row.changed = True
            row.values[BYTES_IN] = -1 if name == bad else 7  # no number that can be written
        observer.sweep([], 0)

    run_in_loop(server, work)
    [slot] = observer.store.read()
    assert {name: values[BYTES_IN] for name, values in slot.rows.items()} == {
        (name, ""): 0 if name == bad else 7 for name in NAMES
    }


def test_a_client_that_can_not_be_counted_keeps_no_other_from_it(server: Server) -> None:
    class Recorder:
        """Has no row for anybody."""

        def __init__(self) -> None:
            self.ended: list[EndedRequest] = []
            self.new_id = lambda: b"id"

        def flush_records(self) -> None:
            """Do nothing."""

        def row(self, _model: str, _client: str) -> Row:
            raise ZeroDivisionError("fault")

    def work() -> None:
        records = [RequestRecord(Recorder()), *(server.observer.new_record() for _ in NAMES)]
        for record, model in zip(records, ("bad", *NAMES), strict=True):
            record.begin(None)
            record.model = model
        server.observer.sweep(records, 0)

    run_in_loop(server, work)
    [slot] = server.observer.store.read()
    assert [slot.rows[name, ""][IN_FLIGHT] for name in NAMES] == [1, 1, 1]


def test_an_observer_whose_numbers_are_wrong_ends_no_sweep(server: Server) -> None:
    def work() -> None:
        server.observer._metrics.process[RELOADS] = -1
        server._sweep()

    run_in_loop(server, work)


def ended(request_id: bytes, status: int = 200) -> EndedRequest:
    """A request that is over."""
    request = EndedRequest()
    request.ns = 1
    request.request_id = request_id
    request.model = "m"
    request.status = status
    request.bytes_in, request.bytes_out = 1, 2
    request.end = "complete"
    return request


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("what", ["counted", "logged"])
def test_what_has_ended_is_settled_once_whatever_fails(
    what: str, at: int, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    observer = server.observer
    requests = [ended(b"id-%d" % number) for number in range(3)]
    requests[at] = ended(b"id-%d" % at, 9999) if what == "counted" else ended(b"\xff")

    def flush_records() -> None:
        observer.ended.extend(requests)
        observer.flush_records()
        observer.flush_records()
        observer.sweep([], 0)

    run_in_loop(server, flush_records)
    out = ""

    def are_written() -> bool:
        nonlocal out
        out += capfd.readouterr().out
        return len(out.splitlines()) >= 3 - (what == "logged")

    wait_until(are_written)
    ids = [json.loads(line)["request_id"] for line in out.splitlines()]
    expected = [0, 1, 2]
    if what == "logged":
        expected.remove(at)
    assert ids == [f"id-{number}" for number in expected]
    values = observer.row("m", "").values
    assert values[BYTES_IN] == (2 if what == "counted" else 3)
    assert values[BYTES_OUT] == 2 * values[BYTES_IN]
    assert sum(values[STATUS : STATUS + len(STATUSES)]) == values[BYTES_IN]


@pytest.mark.parametrize("fault", [ZeroDivisionError, RecursionError, MemoryError])
def test_a_timer_goes_on_until_it_is_stopped(
    fault: type[Exception], loop_thread: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        raise fault("fault")

    clock = Timer(0.001, "a test", step)
    loop_thread.call(lambda: clock.start(loop_thread.loop))
    wait_until(lambda: steps > 5)
    loop_thread.call(clock.stop)
    stopped = steps
    loop_thread.run(_pause())
    assert steps == stopped


async def _pause() -> None:
    await asyncio.sleep(0.01)


def test_what_a_callback_raises_is_logged_in_few_words(
    run: Run, start_backend: StartBackend
) -> None:
    before = """
import llmhop.client.connection as module
def received(self, data): raise ZeroDivisionError("fault")
module.ClientConnection.data_received = received
"""
    process = run({"models": {"m": {"url": "http://127.0.0.1:1"}}}, before=before)
    for _ in range(30):
        with Wire(process.port) as wire:
            wire.send(HEALTH)
            assert wire.at_end()
    process.stop()
    assert process.process.wait(20) == 0
    log = process.end()
    assert log.count("ZeroDivisionError: fault") == 10
    assert "failed with ZeroDivisionError (20 more)" in log


# Each is a step of the supervisor that fails, for good or once.
SUPERVISOR_FAULTS = {
    "what a worker says": """
real = module._Supervisor._handle_message
def heard(self, worker, message):
    real(self, worker, message)
    raise ZeroDivisionError("fault")
module._Supervisor._handle_message = heard
""",
    "the end of a worker": """
import os
real = module._Supervisor._reap_one
failed = []
def reap(self, worker):
    ended = os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended and worker.pid not in failed:
        failed.append(worker.pid)
        raise ZeroDivisionError("fault")
    real(self, worker)
module._Supervisor._reap_one = reap
""",
    "what systemd hears": """
def tell(self):
    real_tell(self)
    raise ZeroDivisionError("fault")
real_tell = module._Supervisor._notify_status
module._Supervisor._notify_status = tell
""",
}


@pytest.mark.parametrize("what", SUPERVISOR_FAULTS)
def test_no_fault_ends_the_supervisor(what: str, run: Run, start_backend: StartBackend) -> None:
    models = {"m": {"url": start_backend().url, "maxConcurrent": 1}}
    config = {"models": models, "workers": 2}
    before = "import llmhop.workers.supervisor as module" + SUPERVISOR_FAULTS[what]
    process = run(config, before=before)
    for number in range(3):
        process.write({**config, "models": {**models, f"new{number}": models["m"]}})
        assert "serves 2 models" in process.reload()
        for _ in range(3):
            with Wire(process.port) as wire:
                wire.send(post(chat()))
                assert wire.response().status == 200
    process.stop()
    assert process.process.wait(20) == 0
    assert "failed with ZeroDivisionError" in process.end()
