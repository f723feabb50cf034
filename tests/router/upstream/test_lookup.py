"""Names of backends: one that is not answered for holds up no other, and not the end."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmhop import daemon_thread
from llmhop.upstream.lookup import Addresses, Lookups

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import (
    MODELS,
    LoopThread,
    Response,
    Wire,
    ask,
    chat,
    post,
    wait_until,
)
from tests.router.support.fakes.names import Names
from tests.router.support.process import Run

LOST = [f"lost{number}.test" for number in range(64)]
"""More names than any pool of threads has threads."""

NO_NAME_SERVER = """
import socket, threading
real = socket.getaddrinfo
def getaddrinfo(host, *more, **named):
    if host == "lost.test":
        threading.Event().wait()
    return real(host, *more, **named)
socket.getaddrinfo = getaddrinfo
"""
"""Has lookups of one name never end."""

NO_FILE = """
import threading
from llmhop.process import service
service.load = lambda *_, **__: threading.Event().wait()
"""
"""Has a reload read the file for ever, as on a disk that hangs."""


def status(port: int, model: str) -> int:
    return ask(port, post(chat(model))).status


def test_names_that_hang_hold_up_no_other(
    names: Names, start_backend: StartBackend, start_router: StartRouter
) -> None:
    engine = start_backend()
    names["here.test"] = ["127.0.0.1"]
    names.hanging.update(LOST)
    lost = {host: {"url": f"http://{host}", "connectTimeout": 600} for host in LOST}
    here = {"url": f"http://here.test:{engine.port}", "idleTimeout": 1}
    router = start_router({**lost, "here": here})
    clients = [Wire(router.port) for _ in LOST]
    for client, host in zip(clients, LOST, strict=True):
        client.send(post(chat(host)))
    wait_until(lambda: all(names.running[host] for host in LOST))
    assert status(router.port, "here") == 200
    router.sweep_after(2)  # its connection was idle for too long
    assert status(router.port, "here") == 200
    assert names.begun["here.test"] == 2
    names.release()
    for client in clients:
        assert client.response().error_code == "backend_unavailable"
        client.close()


def test_a_name_is_looked_up_once_however_many_ask(
    names: Names, start_backend: StartBackend, start_router: StartRouter
) -> None:
    engine = start_backend()
    names.hanging.add("late.test")
    late = f"http://late.test:{engine.port}"
    models = {f"m{n}": {"url": f"{late}/{n}", "connectTimeout": n + 1} for n in range(4)}
    router = start_router({**models, "resolved": {"url": late, "resolve": 1}})
    clients = []
    for model in [*models, *models, "resolved"]:
        clients.append(Wire(router.port))
        clients[-1].send(post(chat(model)))
    wait_until(lambda: router.thread.call(lambda: len(router.server.clients)) == len(clients))
    names["late.test"] = ["127.0.0.1"]
    for seconds in range(1, 60, 10):
        router.sweep_after(seconds)
    assert names.begun["late.test"] == 1
    names.answer()
    assert [client.response().status for client in clients] == [200] * len(clients)
    for client in clients:
        client.close()


def test_an_answer_that_nobody_waits_for_any_more_is_no_fault(
    names: Names,
    start_router: StartRouter,
    capfd: pytest.CaptureFixture[str],
) -> None:
    names.hanging.add("lost.test")
    router = start_router({"m": {"url": "http://lost.test", "connectTimeout": 0.05}})
    response: Response = ask(router.port, post(chat()))
    assert response.error_code == "backend_unavailable"
    names.answer()
    wait_until(lambda: not any(thread.name == "lookup" for thread in threading.enumerate()))
    router.thread.call(lambda: None)
    assert "failed" not in capfd.readouterr().err


def test_addresses_are_not_looked_up(
    names: Names, start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend(), "v6": "http://[::1]:1"})
    assert status(router.port, "m") == 200
    assert status(router.port, "v6") == 503
    assert not names.begun


def test_each_address_of_a_name_is_tried(
    names: Names, start_backend: StartBackend, start_router: StartRouter
) -> None:
    engine = start_backend()
    names["two.test"] = ["127.0.0.1", "127.0.0.9"]  # the last one is the first to be tried
    router = start_router({"m": f"http://two.test:{engine.port}", "gone": "http://two.test:1"})
    assert status(router.port, "m") == 200
    response = ask(router.port, post(chat("gone")))
    assert response.error_code == "backend_unavailable"


def test_without_room_for_a_thread_the_name_is_not_to_blame(
    names: Names, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    router = start_router({"m": "http://here.test"})
    monkeypatch.setattr(daemon_thread, "Thread", NoThread)
    assert ask(router.port, post(chat())).error_code == "overloaded"
    backend = router.server.models.all()["m"]
    assert not backend.pools[0].health.ejected


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lookup_that_never_ends_does_not_hold_up_the_end(run: Run, workers: int) -> None:
    models = {"m": {"url": "http://lost.test", "connectTimeout": 0.05}}
    config = {"models": models, "workers": workers, "drainTimeout": 60}
    process = run(config, before=NO_NAME_SERVER)
    assert status(process.port, "m") == 503
    process.stop()
    assert process.process.wait(20) == 0
    assert "failed" not in process.end()


def test_a_reload_that_never_ends_does_not_hold_up_the_end(run: Run) -> None:
    process = run({"models": MODELS}, before=NO_FILE)
    process.process.send_signal(signal.SIGHUP)
    while "RELOADING" not in process.notified():
        pass
    process.stop()
    assert process.process.wait(20) == 0


_STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "give up", "answer"]), st.sampled_from("abc")), max_size=20
)


@settings(max_examples=50, deadline=None)
@given(_STEPS)
def test_one_lookup_at_a_time_ends_for_all_that_wait(steps: list[tuple[str, str]]) -> None:
    """Whatever the order: a name has one thread at most, and no waiter is forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        names = Names(patch)
        names.update({name: [f"127.0.0.{ord(name)}"] for name in "abc"})
        thread = LoopThread()
        try:
            thread.run(_take(steps, names))
        finally:
            names.release()
            thread.stop()
    assert names.most <= 1


async def _take(steps: list[tuple[str, str]], names: Names) -> None:
    lookups = Lookups()
    waiting: list[tuple[str, asyncio.Task[Addresses]]] = []
    names.hanging.update("abc")
    for step, name in steps:
        if step == "ask":
            waiting.append((name, asyncio.create_task(lookups.addresses(name))))
            await asyncio.sleep(0)
        elif step == "answer":
            names.answer()
        else:
            for asked, task in waiting:
                if asked == name:
                    task.cancel()
    names.release()
    for name, task in waiting:
        await asyncio.wait([task])
        assert task.cancelled() or task.result() == (f"127.0.0.{ord(name)}",)
