"""The starts of a model in the journal, and which of them tells why it is not up."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from llmhop_generator.status import journal
from llmhop_generator.status.cause import last_cause, repeated_cause
from llmhop_generator.status.journal import Record, Start, starts


def raised(error: str) -> str:
    return f'Traceback (most recent call last):\n  File "a.py", line 1, in f\n{error}\n'


def entry(message: str, at: float, **fields: Any) -> str:
    return json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": str(int(at * 1e6)), **fields})


def series(*tries: tuple[str, float], apart_s: float = 10, asked: bool = True) -> Iterator[str]:
    """The journal of tries of one service: what the container printed, and how long it took."""
    by_systemd = {"_COMM": "systemd", "SYSLOG_IDENTIFIER": "systemd"}
    now = 0.0
    for number, (text, took) in enumerate(tries):
        if number or not asked:
            now += apart_s
            yield entry("Scheduled restart", now, MESSAGE_ID=journal.RESTARTING, **by_systemd)
        yield entry("Starting a.service", now, MESSAGE_ID=journal.STARTING, **by_systemd)
        now += took
        for line in text.splitlines():
            yield entry(f"{line}\n", now, CONTAINER_NAME="vllm-a", _COMM="conmon")
        yield entry("a.service: Failed", now, MESSAGE_ID=journal.FAILED, **by_systemd)


def read(lines: Iterator[str]) -> list[Start]:
    return starts(map(Record.parse, lines))


def test_starts_are_told_apart() -> None:
    found = read(series(("one", 3), ("two", 4)))
    assert [start.engine_lines for start in found] == [["one"], ["two"]]
    assert [start.failed for start in found] == [True, True]
    assert [start.again for start in found] == [False, True]
    assert found[1].ended_s - found[1].began_s == 4


def test_a_start_that_came_up_has_not_failed() -> None:
    lines = [
        entry("Starting", 1, MESSAGE_ID=journal.STARTING),
        entry("Started", 2, MESSAGE_ID=journal.STARTED),
        entry("Failed", 9, MESSAGE_ID=journal.FAILED),
    ]
    assert [(start.came_up, start.failed) for start in read(iter(lines))] == [(True, False)]


def test_the_last_failed_start_counts_while_the_next_one_is_under_way() -> None:
    lines = [*series((raised("ValueError: old"), 3))]
    lines += [entry("Scheduled", 13, MESSAGE_ID=journal.RESTARTING)]
    lines += [entry("Starting", 13, MESSAGE_ID=journal.STARTING)]
    lines += [entry("INFO it begins", 14, CONTAINER_NAME="vllm-a")]
    found = last_cause(read(iter(lines)))
    assert found is not None
    assert found.said == "ValueError: old"


def test_what_failed_before_somebody_started_it_anew_is_past() -> None:
    lines = [*series((raised("ValueError: old"), 3), (raised("ValueError: old"), 3))]
    lines += [entry("Starting", 90, MESSAGE_ID=journal.STARTING)]
    lines += [entry("INFO downloading", 91, CONTAINER_NAME="vllm-a")]
    found = last_cause(read(iter(lines)))
    assert found is not None
    assert found.said == "INFO downloading"
    assert repeated_cause(read(iter(lines))) is None


SAME = raised("ValueError: Free memory on device (3.22/4.0 GiB) on startup")
LIKE = raised("ValueError: Free memory on device (3.19/4.0 GiB) on startup")
OTHER = raised("ValueError: something else")


@pytest.mark.parametrize(
    ("tries", "repeats"),
    [
        ([(SAME, 20)], False),
        ([(SAME, 20), (SAME, 20)], True),
        ([(SAME, 20), (LIKE, 20)], True),
        ([(SAME, 20), (OTHER, 20)], False),
        ([("E: error: at 0x7ff46c3c4e00", 20), ("E: error: at 0x7e1f00d0beef", 20)], True),
        ([(OTHER, 20), (SAME, 20), (SAME, 20)], True),
        ([(SAME, 2000), (SAME, 20)], True),
        ([(SAME, 20), (SAME, 61)], False),
        ([("", 2), ("", 2)], False),
    ],
)
def test_a_start_that_fails_twice_in_one_way_is_known(
    tries: list[tuple[str, float]], repeats: bool
) -> None:
    assert (repeated_cause(read(series(*tries))) is not None) is repeats


@pytest.mark.parametrize(
    ("fields", "message", "is_engine"),
    [
        ({"MESSAGE": "a\n", "CONTAINER_NAME": "vllm-a", "_COMM": "conmon"}, "a", True),
        ({"MESSAGE": [27, 91, 109, 195, 164], "CONTAINER_NAME": "vllm-a"}, "\xe4", True),
        ({"MESSAGE": ["one", "two"]}, "two", False),
        ({"MESSAGE": None, "_COMM": "podman"}, "", False),
        ({"MESSAGE": "Error: x", "_COMM": "podman", "_TRANSPORT": "stdout"}, "Error: x", False),
        ({"MESSAGE": "x", "_COMM": "pasta.avx2", "_TRANSPORT": "stdout"}, "x", False),
        ({"MESSAGE": "x", "_COMM": "VLLM::EngineCor", "_TRANSPORT": "stdout"}, "x", True),
        ({"MESSAGE": "x", "_TRANSPORT": "stdout"}, "x", False),
    ],
)
def test_an_entry_of_the_journal_is_read(
    fields: dict[str, Any], message: str, is_engine: bool
) -> None:
    found = Record.parse(json.dumps(fields))
    assert (found.message, found.is_engine) == (message, is_engine)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        ("\x1b[2J\x1b[1;1Hhome\x1b[?25l", "home"),
        ("\x1bPq#0\x1b\\a\x1b_x\x1b\\b\x1bcc\x1b(Bd", "abcd"),
        ("\x9b31mone\x9d0;t\x9ctwo\x85", "onetwo"),
        ("a\x07\x08\x00b\x7f\tc", "ab\tc"),
        ("\u202eright\u2066", "right"),
        ("\x1b]never ends", "never ends"),
        ("ends \x1b", "ends "),
        ("10 %\r20 %\r", "10 %\n20 %"),
        ("caf\xe9 \u65e5\u672c", "caf\xe9 \u65e5\u672c"),
    ],
)
@pytest.mark.parametrize("fields", [{"CONTAINER_NAME": "vllm-a"}, {"_COMM": "podman"}])
def test_what_steers_a_terminal_is_left_out(
    written: str, plain: str, fields: dict[str, str]
) -> None:
    assert Record.parse(json.dumps({"MESSAGE": written, **fields})).message == plain
    as_bytes = list(written.encode())
    assert Record.parse(json.dumps({"MESSAGE": as_bytes, **fields})).message == plain


def test_a_line_that_was_logged_in_pieces_is_whole() -> None:
    piece = {"CONTAINER_NAME": "vllm-a", "CONTAINER_PARTIAL_MESSAGE": "true"}
    lines = [entry("one ", 1, **piece), entry("noise", 2), entry("two", 3, CONTAINER_NAME="vllm-a")]
    assert read(iter(lines))[0].engine_lines == ["one two"]
