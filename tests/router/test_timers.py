"""Whatever fails in one client, pool, record or step, the timers go on and serve the others."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from llmhop import ledger
from llmhop.access_log import AccessLog
from llmhop.client_protocol import ClientProtocol
from llmhop.config import AccessLogFormat
from llmhop.metric_cells import BYTES_IN, BYTES_OUT
from llmhop.metric_store import Row
from llmhop.pool import Pool
from llmhop.replica import Replica
from llmhop.request_record import Ended, RequestRecord
from llmhop.resolver import Resolver
from llmhop.timer import Timer

from tests.router.conftest import StartBackend, StartRouter
from tests.router.process import Run
from tests.router.support import LoopThread, Wire, chat, post, wait_until
from tests.router.test_access_log import ENTRY
from tests.router.test_log import half

HEALTH = b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n"

# Each is run in the process before llmhop. What fails, fails for good.
FAULTS = {
    "a client's check": """
import llmhop.client_connection as module
real = module.ClientConnection.check_deadline
def check(self, now):
    if self.record._path == "/v1/bad":
        raise ZeroDivisionError("fault")
    real(self, now)
module.ClientConnection.check_deadline = check
""",
    "a pool's sweep": """
import llmhop.pool as module
def sweep(self, now): raise ZeroDivisionError("fault")
module.Pool.sweep = sweep
""",
    "all pools' sweep": """
import llmhop.pool as module
def sweep(self, now): raise ZeroDivisionError("fault")
module.Pools.sweep = sweep
""",
    "a replica's sweep": """
import llmhop.replica as module
def sweep(self, now): raise ZeroDivisionError("fault")
module.Replica.sweep = sweep
""",
    "the observer": """
import llmhop.observer as module
def sweep(self, records, buffered_bytes): raise ZeroDivisionError("fault")
module.Observer.sweep = sweep
""",
    "the access log": """
import llmhop.access_log as module
def flush(self): raise ZeroDivisionError("fault")
module.AccessLog.flush = flush
""",
    "counting": """
import llmhop.ledger as module
def count(request, row_of): raise ZeroDivisionError("fault")
module._count = count
""",
    "a record that is open": """
import llmhop.request_record as module
def count(self): raise ZeroDivisionError("fault")
module.RequestRecord.count_open = count
""",
    "publishing": """
import llmhop.metric_store as module
real = module.Metrics.publish
def publish(self):
    if self._rows: raise ZeroDivisionError("fault")
    real(self)
module.Metrics.publish = publish
""",
}


@pytest.mark.parametrize(
    ("what", "workers"), [*((what, 1) for what in FAULTS), ("a client's check", 2), ("counting", 2)]
)
def test_a_fault_ends_no_timer(
    what: str, workers: int, run: Run, start_backend: StartBackend
) -> None:
    stalls = start_backend(half)
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


def failing(*_: object) -> None:
    raise ZeroDivisionError("fault")


def test_only_the_client_whose_check_fails_is_cut_off(
    start_router: StartRouter, start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    wires = [Wire(router.port) for _ in range(5)]
    for wire in wires:
        wire.send(post(chat()))
        wire.response()
    real = ClientProtocol.check_deadline
    bad = sorted(router.server.clients, key=lambda c: c.record.request_id)[2]

    def check(client: ClientProtocol, now: float) -> None:
        if client is bad:
            raise ZeroDivisionError("fault")
        real(client, now)

    monkeypatch.setattr(ClientProtocol, "check_deadline", check)
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


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Pool, "sweep"),
        (Replica, "sweep"),
        (Resolver, "_look_up"),
        (Row, "publish"),
        (RequestRecord, "count_open"),
    ],
)
def test_one_that_fails_keeps_no_other_from_its_turn(
    owner: Any, name: str, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Resolver, "_look_up", lambda *_: None)
    names = ("one", "two", "three")
    router = start_router({name: {"url": f"http://{name}:1", "resolve": 1000} for name in names})
    seen: list[object] = []

    def fail_first(self: object, *_: object) -> None:
        seen.append(self)
        if len(seen) == 1:
            raise ZeroDivisionError("fault")

    def work() -> None:
        server = router.server
        for model in names:
            server.observer.row(model).changed = True
        server.sweep(server._loop.time())
        server.observer.sweep([server.observer.new_record() for _ in names], 0)

    monkeypatch.setattr(owner, name, fail_first)
    router.thread.call(work)
    assert len(seen) >= len(names)


def records_of(count: int) -> Any:
    return [
        Ended(
            *(1, 0, 0, 0, 0, 0, 0, b"id-%d" % n, "c", "GET", "/", "m", "b", 200, 1, 2, None),
            "complete",
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("name", ["_count", "_entry"])
def test_what_has_ended_is_settled_once_whatever_fails(
    name: str, at: int, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = start_router({"m": "http://127.0.0.1:1"}, accessLog="json")
    observer = router.server.observer
    real = getattr(ledger, name)
    calls = 0

    def fail_once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            raise ZeroDivisionError("fault")
        return real(*arguments)

    logged: list[bytes] = []

    def settle() -> None:
        monkeypatch.setattr(ledger, name, fail_once)
        monkeypatch.setattr(observer.access_log, "add", logged.append)
        observer.ended += records_of(3)
        observer.settle()
        observer.settle()

    router.thread.call(settle)
    assert calls == 3
    assert len(logged) == (3 if name == "_count" else 2)
    cells = observer.row("m").cells
    assert cells[BYTES_IN] == (2 if name == "_count" else 3)
    assert cells[BYTES_OUT] == 2 * cells[BYTES_IN]


def test_an_entry_that_can_not_be_written_takes_no_other_with_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    bad = msgspec.structs.replace(ENTRY, total_ms=object())
    formats: tuple[AccessLogFormat, ...] = ("json", "text")
    for format_ in formats:
        log = AccessLog(1, format_)
        for entry in (ENTRY, bad, ENTRY):
            log.add(entry)
        log.close()
        out, err = capfd.readouterr()
        assert len(out.splitlines()) == 2
        assert "a line of the access log failed with TypeError" in err


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
import llmhop.client_protocol as module
def received(self, data): raise ZeroDivisionError("fault")
module.ClientProtocol.data_received = received
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
real = module._Supervisor._heard
def heard(self, worker, message):
    real(self, worker, message)
    raise ZeroDivisionError("fault")
module._Supervisor._heard = heard
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
real_tell = module._Supervisor._tell
module._Supervisor._tell = tell
""",
}


@pytest.mark.parametrize("what", SUPERVISOR_FAULTS)
def test_no_fault_ends_the_supervisor(what: str, run: Run, start_backend: StartBackend) -> None:
    models = {"m": {"url": start_backend().url, "maxConcurrent": 1}}
    config = {"models": models, "workers": 2}
    before = "import llmhop.supervisor as module" + SUPERVISOR_FAULTS[what]
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
