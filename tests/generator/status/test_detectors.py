"""Which account of a failed start counts where there are several: by the order of detectors."""

import json
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest
from llmhop_generator.status import journal
from llmhop_generator.status.cause import cause_of
from llmhop_generator.status.journal import Record, starts


def entry(message: str, **fields: Any) -> str:
    return json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": "1", **fields})


def systemd(message: str, about: str = "", **fields: str) -> str:
    return entry(f"a.service: {message}", MESSAGE_ID=about, _COMM="systemd", **fields)


def engine(*lines: str) -> list[str]:
    return [entry(line, CONTAINER_NAME="vllm-a", _COMM="conmon") for line in lines]


def raised(error: str) -> list[str]:
    frame = ('  File "core.py", line 1, in run', "    raise it")
    return engine("Traceback (most recent call last):", *frame, error)


# From what counts most to what counts least: what is written, and words of the cause.
ACCOUNTS: Sequence[tuple[str, list[str], str]] = [
    (
        "not spawned",
        [
            systemd("Failed at step EXEC spawning /opt/none: No such file", journal.NOT_SPAWNED),
            systemd("Main process exited, code=exited, status=203/EXEC", journal.EXITED),
        ],
        "step EXEC spawning /opt/none",
    ),
    (
        "killed",
        [systemd("Failed with result 'timeout'.", journal.FAILED, UNIT_RESULT="timeout")],
        "before its start timed out",
    ),
    ("exception", raised("ValueError: it is raised"), "it is raised"),
    ("usage", engine("vllm serve: error: it is refused"), "it is refused"),
    (
        "command",
        [systemd("Control process exited, code=exited, status=7/NOTRUNNING", journal.EXITED)],
        "a command of the unit ended with code=exited, status=7",
    ),
    ("logged", engine("ERROR 11-27 16:01:25 [core.py:712] it is logged"), "it is logged"),
    ("podman", [entry("Error: it is Podman's", _COMM="podman")], "it is Podman's"),
    ("systemd", [systemd("start operation timed out. Terminating.")], "start operation timed"),
    (
        "consequence",
        raised("RuntimeError: Engine core failed. See root cause above."),
        "See root cause above",
    ),
    ("ending", engine("it said last"), "it said last"),
]


def said(*lines: str) -> str:
    [start] = starts(map(Record.parse, lines))
    cause = cause_of(start)
    assert cause is not None
    return cause.said


@pytest.mark.parametrize(
    ("lines", "words"), [each[1:] for each in ACCOUNTS], ids=[n for n, _, _ in ACCOUNTS]
)
def test_each_account_counts_by_itself(lines: list[str], words: str) -> None:
    assert words in said(*lines)


@pytest.mark.parametrize(
    ("first", "second"),
    list(combinations(ACCOUNTS, 2)),
    ids=[f"{one[0]} before {other[0]}" for one, other in combinations(ACCOUNTS, 2)],
)
def test_the_surer_of_two_accounts_counts(
    first: tuple[str, list[str], str], second: tuple[str, list[str], str]
) -> None:
    assert first[2] in said(*first[1], *second[1])
