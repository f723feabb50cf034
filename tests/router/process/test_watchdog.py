"""What systemd hears of a service: how it is, and that its event loop turns."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from llmhop.process.notify import watchdog_interval
from llmhop.process.service import REFUSED, keep_pinging

from tests.router.support.endpoints import MODELS, TIMEOUT, LoopThread
from tests.router.support.process import Run


def test_the_status_says_what_is_served_and_follows_a_reload(run: Run) -> None:
    process = run({"models": MODELS})
    assert process.status == f"serves 1 model on http://127.0.0.1:{process.port}"
    process.write({"models": MODELS | {"n": {"url": "http://h"}}, "listen": "127.0.0.1:0"})
    assert process.reload() == f"serves 2 models on http://127.0.0.1:{process.port}"
    process.write("{")
    refused = f"{REFUSED}: serves 2 models on http://127.0.0.1:{process.port}"
    assert process.reload() == refused


def test_the_watchdog_is_pinged_again_and_again(run: Run) -> None:
    process = run({"models": MODELS}, WATCHDOG_USEC="20000")
    for _ in range(10):
        assert process.notified() == {"WATCHDOG": "1"}
    process.reload()
    assert process.notified() == {"WATCHDOG": "1"}


@pytest.mark.parametrize(
    ("variables", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "9" * 400}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
    ],
)
def test_only_the_process_that_systemd_watches_pings(
    variables: dict[str, str], interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert watchdog_interval() == interval


def test_an_event_loop_that_hangs_sends_no_ping() -> None:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = LoopThread()
    hung, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        hung.set()
        go_on.wait(TIMEOUT)

    async def ping_and_hang() -> None:
        keep_pinging(asyncio.get_running_loop(), lambda: its.send(b"WATCHDOG=1"), 0.01)
        asyncio.get_running_loop().call_later(0.05, hang)

    with ours, its:
        ours.settimeout(TIMEOUT)
        thread.run(ping_and_hang())
        assert ours.recv(100) == b"WATCHDOG=1"
        assert hung.wait(TIMEOUT)
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):  # after what came before
            while True:
                assert ours.recv(100) == b"WATCHDOG=1"
        threading.Event().wait(0.1)  # ten times as long as a ping may take
        with pytest.raises(BlockingIOError):
            ours.recv(100)
        ours.settimeout(TIMEOUT)
        go_on.set()
        assert ours.recv(100) == b"WATCHDOG=1"
        thread.stop()
