"""What is told of a start by how it ended, in lines and results of systemd 257."""

import json
from signal import SIGRTMIN
from typing import Any

import pytest
from llmhop_generator.status import journal
from llmhop_generator.status.cause import Cause, cause_of, cause_of_ending, last_cause
from llmhop_generator.status.endings import Ending
from llmhop_generator.status.journal import Record, Start, starts

LAST = "(APIServer pid=1) INFO 11-27 16:09:04 [x.py:7] Loading weights"


def entry(message: str, **fields: Any) -> str:
    return json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": "1", **fields})


def by_systemd(message: str, about: str = "", **fields: str) -> str:
    return entry(f"a.service: {message}", MESSAGE_ID=about, _COMM="systemd", **fields)


def engine(*lines: str) -> list[str]:
    return [entry(line, CONTAINER_NAME="vllm-a", _COMM="conmon") for line in lines]


def exited(code: str, status: str) -> str:
    return by_systemd(f"Main process exited, code={code}, status={status}", journal.EXITED)


def failed(result: str) -> str:
    return by_systemd(f"Failed with result '{result}'.", journal.FAILED, UNIT_RESULT=result)


def start(*lines: str) -> Start:
    [found] = starts(map(Record.parse, lines))
    return found


def told(*lines: str) -> Cause:
    found = cause_of(start(*lines))
    assert found is not None
    return found


TIMED_OUT = [
    by_systemd("start operation timed out. Terminating."),
    *engine("(APIServer pid=1) INFO 11-27 16:09:09 [x.py:7] Shutting down", "CancelledError"),
    by_systemd("State 'stop-sigterm' timed out. Killing."),
    by_systemd("Killing process 92 (VLLM::EngineCor) with signal SIGKILL."),
    exited("killed", "9/KILL"),
    failed("timeout"),
]

# The end of a start whose engine had said nothing but LAST: name of the cause, and words.
ENDS = [
    ("timeout", TIMED_OUT, "too slow", "before its start timed out"),
    (
        "oom-kill",
        [
            by_systemd("A process of this unit has been killed by the OOM killer."),
            exited("exited", "137/n/a"),
            failed("oom-kill"),
        ],
        "out of memory on the host",
        "killed by the OOM killer",
    ),
    (
        "watchdog",
        [
            by_systemd("Watchdog timeout (limit 10s)!"),
            exited("dumped", "6/ABRT"),
            failed("watchdog"),
        ],
        "no sign of life",
        "no sign of life within WatchdogSec",
    ),
    ("signal", [exited("killed", "9/KILL"), failed("signal")], "killed", "ended by SIGKILL"),
    ("term", [exited("killed", "15/TERM"), failed("signal")], "killed", "ended by SIGTERM"),
    (
        "core-dump",
        [exited("dumped", "11/SEGV"), failed("core-dump")],
        "crashed",
        "ended by SIGSEGV and dumped core",
    ),
    ("137", [exited("exited", "137/n/a"), failed("exit-code")], "killed", "ended by SIGKILL"),
    ("139", [exited("exited", "139/n/a"), failed("exit-code")], "crashed", "ended by SIGSEGV"),
    ("protocol", [failed("protocol")], "ended by itself", "ended before it was healthy"),
    (
        "127",
        [exited("exited", "127/n/a"), failed("exit-code")],
        "command of the image can't be run",
        "the command of its container is not there (exit code 127)",
    ),
    ("start-limit-hit", [failed("start-limit-hit")], "started too often", "started too often"),
]
_ids = [each[0] for each in ENDS]


@pytest.mark.parametrize(("end", "name", "words"), [each[1:] for each in ENDS], ids=_ids)
def test_an_end_is_told_as_what_it_is(end: list[str], name: str, words: str) -> None:
    found = told(*engine(LAST), *end)
    assert found.known is not None
    assert found.known.name == name
    assert words in found.said
    assert found.said.endswith("; it said last: Loading weights")


@pytest.mark.parametrize(("end", "name", "words"), [each[1:] for each in ENDS], ids=_ids)
def test_an_end_of_what_was_up_is_told_and_no_earlier_start(
    end: list[str], name: str, words: str
) -> None:
    by_id = {"_COMM": "systemd", "USER_INVOCATION_ID": "1"}
    lines = [
        entry("", MESSAGE_ID=journal.STARTING, **by_id),
        *engine("ValueError: of the first start", "ERROR: of the first start"),
        entry("", MESSAGE_ID=journal.FAILED, UNIT_RESULT="exit-code", **by_id),
        entry("", MESSAGE_ID=journal.RESTARTING, **by_id),
    ]
    by_id["USER_INVOCATION_ID"] = "2"
    lines += [
        entry("", MESSAGE_ID=journal.STARTING, **by_id),
        entry("", MESSAGE_ID=journal.STARTED, **by_id),
        *engine('INFO:     127.0.0.1:4711 - "GET /health HTTP/1.1" 200 OK'),
        *(json.dumps(json.loads(line) | by_id) for line in end if "MESSAGE_ID" in line),
    ]
    found = last_cause(starts(map(Record.parse, lines)))
    assert found is not None
    assert found.known is not None
    assert (found.known.name, words in found.said) == (name, True)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ([exited("exited", "3/NOTIMPLEMENTED"), failed("exit-code")], "it ended with exit code 3"),
        ([exited("exited", "1/FAILURE"), failed("exit-code")], "it ended with exit code 1"),
        (
            [exited("exited", "125/n/a"), failed("exit-code")],
            "Podman could not run the container (exit code 125)",
        ),
        ([failed("resources")], "systemd lacked a resource that it needs to start it"),
        ([failed("news")], "systemd gives its result as news"),
    ],
)
def test_an_engine_that_said_nothing_is_told_by_its_exit_code(end: list[str], words: str) -> None:
    assert told(*end) == Cause(words)
    assert told(*engine("last words"), *end) == Cause("last words")


def test_what_an_engine_says_of_its_end_counts_more_than_its_exit_code() -> None:
    end = [exited("exited", "139/n/a"), failed("exit-code")]
    assert told(*engine("ERROR: no such kernel"), *end).said == "no such kernel"


def test_what_systemd_did_counts_more_than_what_follows_from_it() -> None:
    late = "ERROR: [Errno 98] Address already in use"
    assert told(*engine(LAST, late), *TIMED_OUT).said.endswith(f"it said last: {late}")
    assert "Shutting" not in told(*engine(LAST), *TIMED_OUT).said


@pytest.mark.parametrize(
    "line",
    [
        'INFO:     127.0.0.1:45678 - "GET /v1/models HTTP/1.1" 200 OK',
        '(APIServer pid=1) INFO:     10.0.0.7:5 - "POST /v1/chat/completions HTTP/1.1" 200 OK',
        '127.0.0.1 - - [28/Nov/2026 06:00:00] "GET /health HTTP/1.1" 200 -',
        "INFO 11-28 06:00:00 [logger.py:39] Received request chatcmpl-1: prompt: 'my secret'",
        "INFO 11-28 06:00:00 [async_llm.py:269] Added request chatcmpl-1.",
        "INFO 11-28 06:00:00 [loggers.py:123] Engine 000: Avg prompt throughput: 1.0 tokens/s",
    ],
)
def test_what_is_logged_of_requests_is_no_reason(line: str) -> None:
    assert cause_of(start(*engine(line))) is None
    assert told(*engine(LAST, line)).said == "Loading weights"
    end = [exited("exited", "1/FAILURE"), failed("exit-code")]
    assert told(*engine(line), *end) == Cause("it ended with exit code 1")


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending("exit-code", "exited", 3), "it ended with exit code 3"),
        (Ending("signal", "killed", SIGRTMIN + 1), f"it was ended by signal {SIGRTMIN + 1}"),
        (Ending("exit-code", "exited", 128), "it ended with exit code 128"),
        (Ending("exit-code", "exited", 255), "it ended with exit code 255"),
        (Ending("success", "killed", 15), ""),
        (Ending("", "exited", 1), ""),
    ],
)
def test_where_the_journal_has_nothing_the_state_of_the_unit_tells(
    ending: Ending, words: str
) -> None:
    found = cause_of_ending(ending)
    assert (found.said if found else "") == words


def test_a_configuration_that_podman_can_not_read_is_told() -> None:
    said = 'Failed to obtain podman configuration: toml: line 1 (last key "x"): expected value'
    printed = {"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "vllm-a"}
    for writer in ({}, {"_COMM": "podman"}):
        found = told(
            entry(said, **printed, **writer),
            exited("exited", "1/FAILURE"),
            failed("exit-code"),
        )
        assert found.said == said
        assert found.known is not None
        assert found.known.name == "Podman's configuration broken"
