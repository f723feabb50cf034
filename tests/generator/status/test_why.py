"""What is told of models that are not up, from what systemd and the journal have of them."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from llmhop_generator.host import systemd
from llmhop_generator.host.process import Account, Finished
from llmhop_generator.planning.steps import Wanted
from llmhop_generator.render.provenance import Added
from llmhop_generator.status import failures, why
from llmhop_generator.status.journal import FAILED, STARTED, STARTING
from llmhop_generator.status.why import why_not_up

A, B = "vllm-a.service", "vllm-b.service"
Records = list[dict[str, Any]]


def engine(message: str) -> dict[str, Any]:
    return {"MESSAGE": message, "CONTAINER_NAME": "vllm-a", "_COMM": "conmon"}


class Host:
    """A user's manager and its journal: services, what each is, and what was written of it."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.records: dict[str, Records] = {}
        self.unmet: list[list[object]] = []

    def start(self, service: str, *written: dict[str, Any], state: str = "failed") -> None:
        """Have a start of a service fail, with what it wrote in it."""
        self.states[service] = (
            f"ActiveState={state}\nResult=exit-code\nInvocationID=1\nExecMainCode=1\nExecMainStatus=3"
        )
        start, end = {"MESSAGE_ID": STARTING}, {"MESSAGE_ID": FAILED}
        self.records[service] = [{**r, "USER_INVOCATION_ID": "1"} for r in (start, *written, end)]

    def run(self, command: Sequence[str], **_: object) -> Finished:
        if command[0] == "busctl":
            return Finished(0, json.dumps({"type": "a(sbbsi)", "data": self.unmet}), "")
        units = [word for word in command if word.endswith(".service")]
        return Finished(0, "\n\n".join(self.states[unit] for unit in units), "")

    def journal(self, service: str, _fields: object) -> list[str]:
        return [json.dumps(record) for record in self.records.get(service, [])]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(failures, "user_unit_journal", host.journal)
    monkeypatch.setattr(systemd, "run", host.run)
    monkeypatch.setattr(why, "account_of", lambda uid: Account(uid, uid))
    return host


def told(*services: str, left: Sequence[str] = (), **added: Added) -> list[str]:
    of_models = {f"vllm-{model}.container": (each,) for model, each in added.items()}
    return why_not_up(Wanted(uid=503, added=of_models), services, left).splitlines()


def test_each_model_that_is_not_up_is_told_with_its_cause(host: Host) -> None:
    loading = "OSError: m does not appear to have a file named config.json"
    host.start(A, engine(loading))
    host.start(B)
    lines = told(A, B)
    assert lines[0] == f"not up: {A}, {B}. The other models serve."
    assert lines[1].startswith(f"{A}: files of the model broken or missing: {loading} (")
    assert lines[2:] == [f"{B}: it ended with exit code 3", "See more: llmhop-generator logs a"]


def test_below_a_cause_without_a_name_are_the_last_lines(host: Host) -> None:
    lines = [f"line {number}" for number in range(9)]
    host.start(A, *map(engine, [*lines, " ", "RuntimeError: strange"]))
    found = told(A)
    assert found[1] == f"{A}: RuntimeError: strange"
    assert found[2:-1] == [*(f"  {line}" for line in lines[-4:]), "  RuntimeError: strange"]


def test_a_line_that_is_the_cause_is_not_told_twice(host: Host) -> None:
    host.start(A, engine("RuntimeError: strange"))
    assert len(told(A)) == 3


def test_nothing_that_an_engine_writes_steers_a_terminal(host: Host) -> None:
    host.start(A, engine("\x1b]0;owned\x07\x1b[2Jfirst\r10 %"), engine("\x1b[31mstrange\x1b[0m"))
    assert told(A)[1:-1] == [f"{A}: strange", "  first", "  10 %", "  strange"]


def test_what_was_left_alone_is_told_with_a_way_out(host: Host) -> None:
    host.start(A)
    left = told(A, left=[B])[1]
    assert left.startswith(f"Left as they were: {B}. They serve by their earlier units")


def test_no_earlier_start_is_reported_for_one_that_the_journal_lacks(host: Host) -> None:
    host.start(A, engine("RuntimeError: of another start"))
    host.states[A] = host.states[A].replace("ID=1", "ID=2")
    assert told(A)[1:-1] == [f"{A}: it ended with exit code 3"]


@pytest.mark.parametrize("kind", ["Condition", "Assert"])
def test_what_was_not_met_is_told_and_nothing_of_an_earlier_run(host: Host, kind: str) -> None:
    host.start(A, engine("GET /health 200"), {"MESSAGE_ID": STARTED})
    host.states[A] = (
        "ActiveState=inactive\nResult=success\nInvocationID=1\n"
        "ConditionResult=yes\nConditionTimestampMonotonic=1\n"
        f"AssertResult=no\n{kind}Result=no\n{kind}TimestampMonotonic=1"
    )
    key = f"{kind}PathExists"
    host.unmet = [
        [key, False, True, "/met", 1],
        [key, False, False, "/srv/none", -1],
        [key, True, True, "/a b", -1],
    ]
    lines = told(A, a=Added("the.option", key, ("/srv/none",)))
    assert lines[1].startswith(
        f"{A}: the.option: condition of the unit not met: {key}=/srv/none and {key}=|!/a b not met"
    )
    assert len(lines) == 3


def test_what_was_stopped_is_told_as_such(host: Host) -> None:
    host.start(A)
    host.states[A] = "ActiveState=inactive\nResult=success\nInvocationID=1"
    assert told(A)[1].startswith(f"{A}: it was stopped or came to its end")


def test_an_exec_condition_that_said_no_is_told(host: Host) -> None:
    host.start(A, engine("x"))
    host.states[A] = (
        "ActiveState=inactive\nResult=exec-condition\nInvocationID=1\n"
        "ConditionResult=no\nConditionTimestampMonotonic=1"
    )
    lines = told(A, a=Added("the.option", "ExecCondition", ("/bin/false",)))
    assert lines[1].startswith(f"{A}: the.option: condition of the unit not met: ExecCondition=")


def router_told(
    monkeypatch: pytest.MonkeyPatch, *records: dict[str, Any], state: str = "failed"
) -> str | None:
    """Why llmhop is not up, by what its journal has of starts 1 and 2, the latter the last."""
    lines = [json.dumps({"__REALTIME_TIMESTAMP": "1000000", **record}) for record in records]
    monkeypatch.setattr(failures, "system_unit_journal", lambda *_: lines)
    shown = (
        f"ActiveState={state}\nResult=exit-code\nInvocationID=2\nExecMainCode=1\nExecMainStatus=3"
    )
    return failures.why_router(systemd.UnitState.parse(shown))


def begins(start: int) -> dict[str, Any]:
    return {"MESSAGE": "Starting", "MESSAGE_ID": STARTING, "INVOCATION_ID": str(start)}


def ends(start: int) -> dict[str, Any]:
    return {"MESSAGE": "Failed", "MESSAGE_ID": FAILED, "INVOCATION_ID": str(start)}


def test_why_llmhop_is_not_up_is_what_its_last_start_has_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {"MESSAGE": "one\nlisten: can't bind\n", "_TRANSPORT": "stdout", "_COMM": "llmhop"}
    first, second = (begins(1), said, ends(1)), (begins(2), said, ends(2))
    assert router_told(monkeypatch, *second) == "listen: can't bind"
    # What has ended without a word is not told by the words of another start; what is under way
    # may be yet to speak.
    assert router_told(monkeypatch, *first, begins(2), ends(2)) == "it ended with exit code 3"
    assert router_told(monkeypatch, *first, begins(2)) == "listen: can't bind"
    assert router_told(monkeypatch) == "it ended with exit code 3"
