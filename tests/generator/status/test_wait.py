"""How long a model is waited for, and what is told of it meanwhile."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from llmhop_generator.host.systemd import UnitState, UserManager
from llmhop_generator.render.provenance import Added
from llmhop_generator.status import wait
from llmhop_generator.status.cause import Cause
from llmhop_generator.status.wait import Outcome, Watch, outcome

A, B = "vllm-a.service", "vllm-b.service"


def state(
    active: str, sub: str = "", *, restarts: int = 0, job: bool = True, result: str = ""
) -> UnitState:
    text = f"LoadState=loaded\nActiveState={active}\nSubState={sub}\nNRestarts={restarts}\n"
    return UnitState.parse(f"{text}Job={int(job)}\nResult={result or 'success'}")


STARTING = state("activating", "start")
HEALTHY = state("active", "running", job=False)
WAITING = state("inactive", "dead")


def failed(times: int) -> UnitState:
    """Between the try that failed and the next one."""
    return state("activating", "auto-restart", restarts=times - 1, result="exit-code")


GONE = state("failed", "failed", restarts=5, job=False, result="exit-code")


@dataclass
class Script:
    """A manager that gives the states of its services look by look, the last of them for ever."""

    looks: list[Mapping[str, UnitState]]
    seen: int = 0

    def states(self, units: Sequence[str]) -> dict[str, UnitState]:
        look = self.looks[min(self.seen, len(self.looks) - 1)]
        self.seen += 1
        assert self.seen < 100, "waits for ever"
        return {unit: look[unit] for unit in units}


@dataclass
class Told:
    lines: list[str] = field(default_factory=list)

    def watch(self, *looks: Mapping[str, UnitState]) -> Watch:
        manager = cast(UserManager, Script(list(looks)))
        return Watch(manager, self.lines.append, lambda line: None)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    monkeypatch.setattr(wait, "POLL_S", 0)
    monkeypatch.setattr(wait, "why_again", lambda service, _: Cause(f"{service} is ill"))
    yield Told()


def test_what_fails_twice_in_one_way_is_told_at_once_and_not_waited_for(told: Told) -> None:
    watch = told.watch({A: STARTING}, {A: failed(1)}, {A: failed(2)})
    assert watch.until_up([A]) == [A]
    assert told.lines[-1] == (
        f"a: failed in the same way twice, and systemd goes on trying: {A} is ill"
    )


def test_what_fails_once_is_waited_for(told: Told) -> None:
    assert told.watch({A: failed(1)}, {A: STARTING}, {A: HEALTHY}).until_up([A]) == []
    assert not [line for line in told.lines if "ill" in line]


def test_what_can_only_fail_again_is_told_after_one_start_by_its_option(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause = Cause("no such program", keys=("ExecStartPre",), program="/none", certain=True)
    monkeypatch.setattr(wait, "why_again", lambda *_: cause)
    watch = told.watch({A: STARTING}, {A: failed(1)})
    watch.added = {
        "vllm-a.container": (
            Added("the.option", "ExecStartPre", ("-/bin/true", "@/none --x")),
            Added("another.option", "ExecStartPre", ("/bin/none",)),
            Added("a.third", "User", ("/none",)),
        )
    }
    assert watch.until_up([A]) == [A]
    assert told.lines[-1].endswith("goes on trying: the.option: no such program")


def test_what_fails_in_other_ways_is_waited_for(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait, "why_again", lambda *_: None)
    looks = [{A: failed(times)} for times in range(1, 6)]
    assert told.watch(*looks, {A: GONE}).until_up([A]) == [A]
    assert told.lines[-1] == "a: failed: exit-code"


def test_the_others_are_waited_for_all_the_same(told: Told) -> None:
    looks = [{A: failed(2), B: WAITING}] * 3 + [{A: failed(3), B: STARTING}]
    assert told.watch(*looks, {A: GONE, B: HEALTHY}).until_up([A, B]) == [A]
    assert len([line for line in told.lines if "ill" in line]) == 1


def test_what_comes_up_after_all_is_up(told: Told) -> None:
    looks = [{A: failed(2), B: WAITING}, {A: HEALTHY, B: STARTING}, {A: HEALTHY, B: HEALTHY}]
    up: list[str] = []
    assert told.watch(*looks).until_up([A, B], up.append) == []
    assert up == [A, B]


def test_what_came_up_after_all_is_waited_for_anew(told: Told) -> None:
    looks = [{A: failed(2)}, {A: HEALTHY}, {A: STARTING}, {A: failed(2)}]
    watch = told.watch(*looks)
    assert watch.until_up([A]) == [A]
    assert watch.until_up([A]) == []
    assert watch.until_up([A]) == [A]
    assert len([line for line in told.lines if "ill" in line]) == 2


def test_the_journal_is_read_only_when_a_start_has_failed(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(wait, "why_again", lambda service, _: read.append(service))
    under_way = state("activating", "start", restarts=2)
    told.watch({A: under_way}, {A: failed(2)}, {A: under_way}, {A: HEALTHY}).until_up([A])
    assert read == [A]


def test_a_second_wait_for_what_was_given_up_ends_at_once(told: Told) -> None:
    watch = told.watch({A: failed(2)}, {A: state("activating", "start", restarts=2)})
    assert watch.until_up([A]) == [A]
    assert watch.until_up([A]) == [A]


def test_a_start_that_ends_is_still_a_start() -> None:
    assert outcome(state("deactivating", "stop-post", result="exit-code")) is Outcome.STARTING
    assert outcome(state("deactivating", "stop")) is Outcome.WAITING
