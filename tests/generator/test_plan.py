"""The plan: what is stopped, replaced and started for a change."""

from llmhop_generator.plan import UnitChanges, plan_units
from llmhop_generator.progress import Outcome, outcome
from llmhop_generator.systemd import UnitState

A, B = "vllm-a.container", "vllm-b.container"


def changes(wanted: dict[str, str], present: dict[str, str]) -> UnitChanges:
    return plan_units(wanted, 503, {503: present})[503]


def test_a_new_model_is_written_and_started() -> None:
    assert changes({A: "1", B: "1"}, {A: "1"}) == UnitChanges(
        write={B: "1"}, start=("vllm-a.service", "vllm-b.service")
    )


def test_a_changed_model_is_stopped_before_its_source_is_replaced() -> None:
    assert changes({A: "2"}, {A: "1"}) == UnitChanges(
        stop=("vllm-a.service",), write={A: "2"}, start=("vllm-a.service",)
    )


def test_a_model_that_only_moved_in_the_start_order_runs_on() -> None:
    moved = "After=b.service\n1"
    assert changes({A: moved}, {A: "After=c.service\n1"}) == UnitChanges(
        write={A: moved}, start=("vllm-a.service",)
    )


def test_a_removed_model_is_stopped_and_its_source_deleted() -> None:
    assert changes({}, {A: "1"}) == UnitChanges(stop=("vllm-a.service",), delete=(A,))


def test_nothing_changes_where_all_is_as_wanted() -> None:
    same = {A: "1", B: "2"}
    assert changes(same, same) == UnitChanges(start=("vllm-a.service", "vllm-b.service"))


def test_the_units_of_a_user_that_serves_no_longer_go() -> None:
    assert plan_units({A: "1"}, 503, {502: {A: "1"}, 504: {}}) == {
        502: UnitChanges(stop=("vllm-a.service",), delete=(A,)),
        503: UnitChanges(write={A: "1"}, start=("vllm-a.service",)),
    }


def test_without_a_backend_every_unit_goes() -> None:
    assert plan_units({}, None, {503: {A: "1"}}) == {
        503: UnitChanges(stop=("vllm-a.service",), delete=(A,))
    }


def state(active: str, *, job: bool = False) -> UnitState:
    return UnitState("loaded", active, "success", has_job=job, restarts=0, active_since_s=0)


def test_a_unit_is_judged_by_its_state_and_its_job() -> None:
    assert outcome(state("active")) is Outcome.HEALTHY
    assert outcome(state("activating")) is Outcome.STARTING
    assert outcome(state("inactive", job=True)) is Outcome.WAITING
    assert outcome(state("inactive")) is Outcome.STOPPED
    assert outcome(state("failed")) is Outcome.FAILED
