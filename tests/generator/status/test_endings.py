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


# By OOMPolicy=continue, which Quadlet's Delegate= brings, systemd takes no result from this.
BY_KERNEL = by_systemd(
    "A process of this unit has been killed by the OOM killer.", journal.OUT_OF_MEMORY
)
BY_OOMD = by_systemd("systemd-oomd killed 3 process(es) in this unit.", journal.KILLED_BY_OOMD)


@pytest.mark.parametrize("said", [BY_KERNEL, BY_OOMD], ids=["kernel", "oomd"])
@pytest.mark.parametrize(
    "end",
    [
        [exited("exited", "137/n/a"), failed("exit-code")],
        [exited("exited", "1/FAILURE"), failed("exit-code")],
        [],  # what is yet to be noticed
    ],
)
def test_what_the_oom_killer_did_counts_more_than_what_an_engine_logs(
    said: str, end: list[str]
) -> None:
    late = engine("ERROR: worker 1 is gone", "RuntimeError: cancelled")
    found = told(*engine("ERROR: no tuned config, using the default", LAST), said, *late, *end)
    assert found.known is not None
    assert found.known.name == "out of memory on the host"
    assert found.said.endswith("memory ran out; it said last: Loading weights")


def at(seconds: int, *lines: str) -> list[str]:
    time = {"__REALTIME_TIMESTAMP": str(seconds * 10**6)}
    return [json.dumps(json.loads(line) | time) for line in lines]


def test_what_the_oom_killer_did_long_before_the_end_is_no_cause() -> None:
    lines = [*engine("ERROR: no such kernel"), exited("exited", "1/FAILURE"), failed("exit-code")]
    assert told(*at(1, BY_KERNEL), *at(62, *lines)).said == "no such kernel"
    assert "OOM killer" in told(*at(1, BY_KERNEL), *at(59, *lines)).said
    assert "OOM killer" in told(*at(1, BY_KERNEL), *at(50, BY_KERNEL), *at(90, *lines)).said
    under_way = engine("ERROR: no such kernel")
    assert "OOM killer" not in told(*at(1, BY_KERNEL), *at(62, *under_way)).said


@pytest.mark.parametrize("result", ["oom-kill", "timeout", "watchdog"])
def test_what_is_written_after_a_service_was_ended_is_no_cause(result: str) -> None:
    late = engine("ERROR: worker 1 is gone", "RuntimeError: cancelled")
    end = [exited("killed", "9/KILL")]
    found = told(*engine(LAST), *end, *late, failed(result))
    assert found.said.endswith("; it said last: Loading weights")


# What Podman 5.4 writes of a container that ended before it was asked for its health.
STOPPED = [entry("Error: container is stopped", _TRANSPORT="stdout", _COMM="podman")]
EVENTS = [
    entry(f"2026-11-28 10:42:43 +0000 UTC m=+2.2 container {what} 69bf (name=a)", _COMM="podman")
    for what in ("init", "start", "died", "remove")
]


RAN = [engine("told to fail"), EVENTS[1:2], EVENTS[2:3], [*EVENTS, *engine("told to fail")]]


@pytest.mark.parametrize("ran", RAN)
def test_that_a_container_has_ended_is_no_cause_of_its_end(ran: list[str]) -> None:
    end = [exited("exited", "1/FAILURE"), failed("exit-code")]
    is_told = any("told to fail" in line for line in ran)
    words = "told to fail" if is_told else "it ended with exit code 1"
    assert told(*ran, *STOPPED, *end) == Cause(words)
    assert cause_of(start(*EVENTS, *STOPPED)) is None


@pytest.mark.parametrize(
    "said",
    [
        "initializing source docker://localhost/none:x: pinging container registry localhost: "
        'Get "https://localhost/v2/": dial tcp [::1]:443: connect: connection refused',
        "localhost/none:x: image not known",
        'short-name "none:x" did not resolve to an alias and no unqualified-search registries are '
        'defined in "/etc/containers/registries.conf"',
    ],
)
def test_an_image_that_podman_does_not_get_is_told(said: str) -> None:
    """In lines of Podman 5.4."""
    podman = {"_TRANSPORT": "stdout", "_COMM": "podman"}
    warned = (
        f'time="2026-11-28T10:39:26Z" level=warning msg="Failed, retrying in 1s. Error: {said}"'
    )
    found = told(
        entry("Trying to pull localhost/none:x...", **podman),
        entry(warned, **podman),
        entry(f"Error: {said}", **podman),
        entry(f"2026-11-28 10:39:40 +0000 UTC m=+3.1 image pull-error  {said}", _COMM="podman"),
        exited("exited", "125/n/a"),
        failed("exit-code"),
    )
    assert found.said == said
    assert found.known is not None
    assert found.known.name == "no such image"


def test_what_podman_says_of_another_container_is_a_cause() -> None:
    end = [exited("exited", "125/n/a"), failed("exit-code")]
    assert told(*STOPPED, *end).said == "container is stopped"
    refused = entry("Error: no such image", _TRANSPORT="stdout", _COMM="podman")
    assert told(*EVENTS, *STOPPED, refused, *end).said == "no such image"
    assert told(*EVENTS, refused, *STOPPED, *end).said == "no such image"


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
        (Ending("exit-code", "exited", 128 + SIGRTMIN), "it was ended by SIGRTMIN"),
        (Ending("exit-code", "exited", 0), "it ended before it was healthy, without an error"),
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


def test_a_podman_that_has_lost_its_containers_is_told() -> None:
    said = (
        'time="2026-11-28T19:03:48Z" level=error msg="invalid internal status, try resetting the '
        'pause process with \\"podman system migrate\\": could not find any running process: no '
        'such process"'
    )
    printed = {"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "vllm-a"}
    found = told(entry(said, **printed), exited("exited", "1/FAILURE"), failed("exit-code"))
    assert found.said == "could not find any running process: no such process"
    assert found.known is not None
    assert found.known.name == "Podman has lost its containers"
