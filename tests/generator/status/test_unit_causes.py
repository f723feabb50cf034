"""What is told of starts that systemd did not carry out, in lines of systemd 257."""

import json
from typing import Any

import pytest
from llmhop_generator.status import journal
from llmhop_generator.status.cause import cause_of, repeated_cause
from llmhop_generator.status.journal import Record, Start, starts


def entry(message: str, **fields: Any) -> str:
    return json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": "1", **fields})


def read(*lines: str) -> list[Start]:
    return starts(map(Record.parse, lines))


def by_systemd(*written: tuple[str, str, str]) -> Start:
    """A start of which systemd wrote: the program, the message's id and the message of each."""
    lines = [entry(f"a.service: {text}", MESSAGE_ID=i, _COMM=comm) for comm, i, text in written]
    [start] = read(*lines)
    return start


def not_spawned(comm: str, step: str, program: str, why: str) -> tuple[str, str, str]:
    return comm, journal.NOT_SPAWNED, f"Failed at step {step} spawning {program}: {why}"


def exited(process: str, status: str) -> tuple[str, str, str]:
    return "systemd", journal.EXITED, f"{process} process exited, code=exited, status={status}"


@pytest.mark.parametrize(
    ("written", "said", "name", "keys", "program"),
    [
        (
            [
                not_spawned("(other)", "EXEC", "/ignored", "No such file or directory"),
                not_spawned("(none)", "EXEC", "/opt/none", "No such file or directory"),
                exited("Control", "203/EXEC"),
                not_spawned("(podman)", "EXEC", "/usr/bin/podman", "No such file or directory"),
            ],
            "Failed at step EXEC spawning /opt/none: No such file or directory",
            "program of the unit missing",
            "ExecStartPre",
            "/opt/none",
        ),
        (
            [
                not_spawned("(env)", "USER", "/usr/bin/env", "No such process"),
                not_spawned("(podman)", "USER", "/usr/bin/podman", "No such process"),
                exited("Main", "217/USER"),
            ],
            "Failed at step USER spawning /usr/bin/podman: No such process",
            "user or group of the unit",
            "User",
            "",
        ),
        (
            [
                not_spawned("(podman)", "CHDIR", "/usr/bin/podman", "No such file or directory"),
                exited("Main", "200/CHDIR"),
            ],
            "Failed at step CHDIR spawning /usr/bin/podman: No such file or directory",
            "key of the unit that can't be carried out",
            "WorkingDirectory",
            "",
        ),
        (
            [
                ("systemd", "", "Failed to load environment files: No such file or directory"),
                ("systemd", "", "Failed to spawn 'start-pre' task: No such file or directory"),
            ],
            "Failed to load environment files: No such file or directory",
            "key of the unit that can't be carried out",
            "EnvironmentFile",
            "",
        ),
    ],
)
def test_what_systemd_could_not_start_is_certain(
    written: list[tuple[str, str, str]], said: str, name: str, keys: str, program: str
) -> None:
    start = by_systemd(*written, ("systemd", journal.FAILED, "Failed with result 'exit-code'."))
    found = cause_of(start)
    assert found is not None
    assert found.known is not None
    assert (found.said, found.known.name, found.program) == (said, name, program)
    assert keys in found.keys
    assert repeated_cause([start]) == found


def test_a_program_that_may_be_missing_is_no_cause() -> None:
    ignored = not_spawned("(other)", "EXEC", "/ignored", "No such file or directory")
    assert cause_of(by_systemd(ignored, exited("Main", "203/EXEC"))) is not None
    assert cause_of(by_systemd(ignored, exited("Main", "1/FAILURE"))) is None


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ({"_COMM": "sh"}, ": no disk"),
        ({}, ": no disk"),
        ({"_COMM": "podman"}, ""),
        ({"MESSAGE": "0" * 64}, ""),
        ({"_TRANSPORT": "journal", "_COMM": "sh"}, ""),
    ],
)
def test_a_command_of_the_unit_that_fails_is_told_with_what_it_said(
    printed: dict[str, str], said: str
) -> None:
    line = {"MESSAGE": "no disk", "_TRANSPORT": "stdout", **printed}
    comm, about, message = exited("Control", "3/NOTIMPLEMENTED")
    end = {"MESSAGE_ID": about, "_COMM": comm}
    [start] = read(entry("", **line), entry(f"a.service: {message}", **end))
    found = cause_of(start)
    assert found is not None
    ended = "code=exited, status=3/NOTIMPLEMENTED"
    assert found.said == f"a command of the unit ended with {ended}{said}"
    assert found.known is not None
    assert not found.certain


def test_what_was_skipped_says_nothing_of_the_start_before_it() -> None:
    failed = (journal.STARTING, journal.FAILED)
    lines = [entry("", MESSAGE_ID=about, USER_INVOCATION_ID="1") for about in failed]
    skipped = entry("a skipped", MESSAGE_ID=journal.STARTED, USER_INVOCATION_ID="")
    [*_, last] = read(*lines, skipped)
    assert (last.failed, last.came_up, last.invocation) == (True, False, "1")


def test_what_systemd_says_before_it_starts_is_of_that_start() -> None:
    first = [entry("x", MESSAGE_ID=journal.FAILED, USER_INVOCATION_ID="1")]
    first.append(entry("x", MESSAGE_ID=journal.STARTING, USER_INVOCATION_ID="1"))
    restarting = entry("x", MESSAGE_ID=journal.RESTARTING, USER_INVOCATION_ID="1")
    again = entry("Failed to load", USER_INVOCATION_ID="2")
    second = entry("x", MESSAGE_ID=journal.STARTING, USER_INVOCATION_ID="2")
    one, two = read(*first, restarting, again, second)
    assert (one.failed, one.again, two.again, len(two.records)) == (True, False, True, 2)


def test_what_is_written_late_is_told_of_its_own_start() -> None:
    def of(number: str, **fields: Any) -> str:
        return entry(fields.pop("message", ""), USER_INVOCATION_ID=number, **fields)

    late = {"message": "RuntimeError: old", "CONTAINER_NAME": "vllm-a", "_COMM": "conmon"}
    lines = [of("1", MESSAGE_ID=journal.STARTING), of("1", MESSAGE_ID=journal.FAILED)]
    lines += [of("2", MESSAGE_ID=journal.STARTING), of("1", **late)]
    found = read(*lines)
    assert [start.engine_lines for start in found] == [["RuntimeError: old"], []]


def test_what_a_later_start_printed_is_its_own_though_journald_names_the_first() -> None:
    printed = {"CONTAINER_NAME": "vllm-a", "_SYSTEMD_INVOCATION_ID": "1" * 32}
    lines = []
    for number in ("1", "2"):
        by_id = {"USER_INVOCATION_ID": number * 32}
        lines += [
            entry("Starting", MESSAGE_ID=journal.STARTING, **by_id),
            entry(f"ERROR: no memory in start {number}", **printed),
            entry("Failed", MESSAGE_ID=journal.FAILED, **by_id),
            entry("Scheduled restart", MESSAGE_ID=journal.RESTARTING, **by_id),
        ]
    found = read(*lines)
    assert [start.engine_lines for start in found] == [
        ["ERROR: no memory in start 1"],
        ["ERROR: no memory in start 2"],
    ]
    assert repeated_cause(found) is not None
