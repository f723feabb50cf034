"""A message that comes often is said a few times, and then how often it came."""

from __future__ import annotations

import logging
import sys
import time

import pytest
from llmhop.log import rate_limit as repeats_module
from llmhop.log.logger import LOG, log, take_stderr
from llmhop.log.rate_limit import BURST, MAX_MESSAGES, WINDOW_S, RateLimit

from tests.router.conftest import StartRouter


def test_a_message_is_said_often_enough_and_then_counted() -> None:
    repeats = RateLimit()
    said = [repeats.admit("a", n / 100) for n in range(500)]
    assert said == [True] * BURST + [False] * (500 - BURST)
    assert repeats.admit("b", 5.0)  # another one is not held back
    assert not list(repeats.take_over(WINDOW_S - 0.1))
    found = repeats.waits, list(repeats.take_over(WINDOW_S)), repeats.waits
    assert found == (True, [f"a ({500 - BURST} more)"], False)
    assert repeats.admit("a", WINDOW_S)
    assert not list(repeats.take_over(WINDOW_S * 3))


def test_messages_that_are_never_the_same_are_bounded_too() -> None:
    repeats = RateLimit()
    said = sum(repeats.admit(f"{n} {'x' * 1000}", 0.0) for n in range(10_000))
    assert said == MAX_MESSAGES + BURST
    assert len(repeats._counts) == MAX_MESSAGES + 1
    assert sum(map(len, repeats._counts)) < MAX_MESSAGES * 600
    assert list(repeats.take_over(WINDOW_S)) == [f"other messages ({10_000 - said} more)"]
    assert not repeats._counts


def test_what_differs_in_its_detail_is_the_same_message(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for n in range(BURST + 5):
        log("it failed", f"; request {n}")
    LOG.close()
    lines = capfd.readouterr().err.splitlines()
    assert lines[:BURST] == [f"llmhop: it failed; request {n}" for n in range(BURST)]
    assert lines[BURST:] == ["llmhop: it failed (5 more)"]


def test_a_line_is_whole_valid_and_not_too_long(capfd: pytest.CaptureFixture[str]) -> None:
    log("\ud800 é " + "x" * 10_000 + "\nsecond")
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("llmhop: \\ud800 é xxx")
    assert first.endswith("x...")
    assert len(first.encode()) < 4096
    assert second == "second"


def test_what_python_says_by_itself_goes_the_same_way(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    take_stderr()
    print("two", "words", file=sys.stderr)
    print("a half line", file=sys.stderr, end="")
    assert capfd.readouterr().err == "llmhop: two words\n"
    for _ in range(1000):
        sys.stderr.write("x" * 1000)
    assert len(vars(sys.stderr)["_line"]) <= 4000
    sys.stderr.write("\n")
    assert capfd.readouterr().err.startswith("llmhop: a half linexxx")
    record = logging.LogRecord("asyncio", logging.ERROR, "file.py", 1, "of %s", ("asyncio",), None)
    assert logging.lastResort is not None
    for _ in range(BURST * 2):
        logging.lastResort.handle(record)
    LOG.sweep()
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["llmhop: of asyncio"] * BURST


def test_a_log_that_has_ended_still_says_what_comes_late(
    capfd: pytest.CaptureFixture[str],
) -> None:
    LOG.to_thread()
    log("one")
    LOG.close()
    log("two")
    assert capfd.readouterr().err == "llmhop: one\nllmhop: two\n"


def test_a_sweep_tells_what_was_left_out(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    start_router: StartRouter,
) -> None:
    router = start_router({"m": "http://127.0.0.1:1"})
    monkeypatch.setattr(repeats_module, "WINDOW_S", 0.01)
    for _ in range(BURST * 2):
        log("again")
    time.sleep(0.02)
    router.thread.call(lambda: router.server.observer.sweep([], 0))
    said = capfd.readouterr().err.splitlines()
    assert "llmhop: again (10 more)" in said
