"""The plan: which steps a change takes, and in which order."""

import json
from dataclasses import replace

import pytest
from llmhop_generator.plan import make_plan
from llmhop_generator.plan_text import as_json, as_table, lines
from llmhop_generator.progress import Outcome, outcome
from llmhop_generator.routes import as_text
from llmhop_generator.start_note import note_of, with_environment
from llmhop_generator.steps import (
    Await,
    Plan,
    Present,
    Pull,
    RaiseLimit,
    Reload,
    Route,
    Stage,
    Start,
    StartManager,
    Stop,
    StopRouter,
    Swap,
    Turn,
    Wanted,
)
from llmhop_generator.systemd import UnitState

from tests.generator.plans import (
    A_SERVICE,
    B_SERVICE,
    C_SERVICE,
    UID,
    A,
    B,
    C,
    present,
    router,
    source,
    steps,
    turn,
    wanted,
)


def test_nothing_changes_where_all_is_as_wanted() -> None:
    both = {A: source(), B: source()}
    assert steps(wanted(both), present(both)) == ()


def test_a_new_model_is_written_and_started_and_its_route_follows_its_health() -> None:
    there, new = {A: source()}, source("Exec=b")
    assert steps(wanted({**there, B: new}), present(there)) == (
        Stage(UID, write={B: new}),
        Swap(UID),
        Reload(UID),
        Start(UID, (B_SERVICE,)),
        Await(UID, (B_SERVICE,), ("b",)),
    )


def test_all_is_in_place_and_the_route_is_gone_before_a_changed_model_stops() -> None:
    there, changed = {A: source(), B: source()}, source("Exec=2")
    assert steps(wanted({A: source(), B: changed}), present(there)) == (
        Stage(UID, write={B: changed}),
        Swap(UID),
        Reload(UID),
        turn("b"),
    )


def test_the_route_of_the_only_model_stays_because_llmhop_needs_one() -> None:
    [last] = steps(wanted({A: source("Exec=2")}), present({A: source()}))[-1:]
    assert isinstance(last, Turn)
    assert last.steps == (
        Stop(UID, (A_SERVICE,)),
        Start(UID, (A_SERVICE,)),
        Await(UID, (A_SERVICE,)),
    )


def test_a_model_that_only_moved_in_the_start_order_runs_on() -> None:
    moved = source("After=vllm-c.service")
    there = {A: source("After=vllm-b.service"), B: source()}
    assert steps(wanted({A: moved, B: source()}), present(there)) == (
        Stage(UID, write={A: moved}),
        Swap(UID),
        Reload(UID),
    )


def test_a_removed_model_loses_its_route_then_stops_then_its_source_goes() -> None:
    there = {A: source(), B: source()}
    assert steps(wanted({A: source()}), present(there)) == (
        Stage(UID, delete=(B,)),
        Route(gone=("b",)),
        Stop(UID, (B_SERVICE,)),
        Swap(UID),
        Reload(UID),
    )


def test_of_several_removed_models_the_last_started_is_the_first_to_stop() -> None:
    there = {name: source() for name in (A, B, C)}
    assert Stop(UID, (C_SERVICE, B_SERVICE)) in steps(wanted({A: source()}), present(there))


def test_a_model_whose_environment_file_changed_is_restarted_and_no_other() -> None:
    there = {A: source(), B: source()}
    to = {A: with_environment(source(), "new"), B: source()}
    plan = make_plan(wanted(to), present(there))
    assert plan.steps == (Stage(UID, write={A: to[A]}), Swap(UID), Reload(UID), turn("a"))
    assert ("write", A, "its environment file changed") in lines(plan)
    assert ("stop", A_SERVICE, "its environment file changed") in lines(plan)


def test_a_model_of_whose_health_nobody_would_tell_is_started_again() -> None:
    both = {A: source(), B: source()}
    plan = make_plan(wanted(both), present(both, b="stalled"))
    assert plan.steps == (Reload(UID), turn("b"))
    assert ("stop", B_SERVICE, "its podman was killed while it started") in lines(plan)


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_model_that_is_down_is_started_and_one_that_starts_is_left_to_it(state: str) -> None:
    both = {A: source(), B: source()}
    taken = steps(wanted(both), present(both, a=state, b="activating"))
    assert Start(UID, (A_SERVICE,)) in taken
    assert not [step for step in taken if isinstance(step, Stage | Swap)]


def test_a_model_that_is_merely_down_keeps_the_route_that_it_has() -> None:
    both = {A: source(), B: source()}
    taken = steps(wanted(both), present(both, a="inactive"))
    assert taken == (Reload(UID), Start(UID, (A_SERVICE,)), Await(UID, (A_SERVICE,)))


def test_a_manager_that_has_not_read_the_units_since_they_changed_reads_them() -> None:
    both = {A: source(), B: source()}
    assert steps(wanted(both), replace(present(both), outdated=frozenset({UID}))) == (Reload(UID),)


def test_images_are_pulled_before_all_else_and_only_for_what_starts() -> None:
    there = {A: source(image="r/a:1"), B: source(image="r/b:1")}
    new = source(image="r/new@sha256:0", pull="missing")
    newer = source("Exec=2", image="r/b:1")
    now = replace(present(there), images=frozenset({"r/a:1", "r/b:1"}))
    taken = steps(wanted({A: there[A], B: newer, C: new}), now)
    assert taken[:2] == (Pull(UID, "r/b:1", optional=True), Pull(UID, "r/new@sha256:0", False))
    assert not [step for step in taken[2:] if isinstance(step, Pull)]


def test_an_image_that_was_made_here_or_is_pinned_is_not_asked_for_again() -> None:
    pinned = source(image="r/a@sha256:0", pull="missing")
    now = replace(present({}), images=frozenset({"localhost/i:1", "r/a@sha256:0"}))
    taken = steps(wanted({A: source(), B: pinned}), now)
    assert not [step for step in taken if isinstance(step, Pull)]


def test_a_users_manager_is_started_and_its_limit_raised_first() -> None:
    to = replace(wanted({A: source()}), open_files=20)
    now = Present(images=frozenset({"localhost/i:1"}), open_files=10)
    assert steps(to, now)[:2] == (StartManager(UID), RaiseLimit(UID, 20))
    assert RaiseLimit(UID, 20) not in steps(to, replace(now, limits_are_fixed=True))


def test_the_units_of_a_user_that_serves_no_longer_go_before_the_new_ones_start() -> None:
    old = {A: source()}
    now = Present(
        sources={502: old, 504: {}},
        states={502: {A_SERVICE: "active"}, UID: {}},
        images=frozenset({"localhost/i:1"}),
        router=router("a"),
        router_runs=True,
    )
    assert steps(wanted(old), now) == (
        Stage(502, delete=(A,)),
        Stage(UID, write=old),
        Stop(502, (A_SERVICE,)),
        Swap(502),
        Reload(502),
        Swap(UID),
        Reload(UID),
        Start(UID, (A_SERVICE,)),
        Await(UID, (A_SERVICE,)),
    )


def test_without_a_backend_and_a_router_everything_goes() -> None:
    assert steps(Wanted(), present({A: source()})) == (
        Stage(UID, delete=(A,)),
        StopRouter(),
        Stop(UID, (A_SERVICE,)),
        Swap(UID),
        Reload(UID),
    )


def test_llmhop_is_given_new_settings_and_started_where_it_is_down() -> None:
    there = {A: source()}
    to = replace(wanted(there), router=as_text({"workers": 2, "models": {"a": {}}}))
    assert steps(to, present(there)) == (Route(),)
    assert steps(wanted(there), replace(present(there), router_runs=False)) == (Route(),)


def carried_out(plan: Plan) -> Present:
    """The host as the steps of a plan leave it, each model having become healthy."""
    now, to = plan.present, plan.wanted
    uids = {step.uid for step in plan.steps if isinstance(step, Swap)}
    kept = {uid: texts for uid, texts in now.sources.items() if uid not in uids}
    if to.uid is not None:
        kept[to.uid] = to.sources
    services = [name.replace(".container", ".service") for name in to.sources]
    states = {to.uid: dict.fromkeys(services, "active")} if to.uid is not None else {}
    return replace(
        now,
        sources=kept,
        states=states,
        router=to.router,
        router_runs=to.router is not None,
        notes={name: note for name in to.sources if (note := note_of(to.sources[name]))},
        open_files=max(now.open_files, to.open_files),
    )


@pytest.mark.parametrize(
    "to",
    [
        Wanted(),
        wanted({A: source("Exec=2"), C: source()}),
        wanted({A: with_environment(source(), "new")}),
        replace(wanted({B: source()}), uid=504),
    ],
)
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(to: Wanted) -> None:
    now = present({A: source(), B: source()})
    plan = make_plan(to, now)
    assert plan.steps
    assert make_plan(to, carried_out(plan)).steps == ()


def test_a_plan_is_told_with_the_changed_keys_of_each_unit() -> None:
    there = {A: source("Exec=serve --x=1 --y=2\nEnvironment=TOKEN=old"), B: source()}
    new = source("Exec=serve --x=1 --y=3\nEnvironment=TOKEN=new", image="localhost/i:2")
    plan = make_plan(wanted({A: new, C: source()}), present(there))
    assert ("delete", B, "") in lines(plan)
    assert ("write", C, "new") in lines(plan)
    assert (
        "write",
        A,
        "Environment TOKEN; Exec: --y=2 -> --y=3; Image: localhost/i:1 -> localhost/i:2",
    ) in lines(plan)
    assert ("stop", A_SERVICE, "changed") in lines(plan)
    assert ("stop", B_SERVICE, "removed") in lines(plan)
    assert "old" not in as_table(plan)
    told = json.loads(as_json(plan))["steps"]
    written = next(step for step in told if step["target"] == A)
    assert [change["key"] for change in written["changed"]] == [
        "Environment TOKEN",
        "Exec",
        "Image",
    ]
    assert [step["step"] for step in told if step["step"] in ("route", "stop", "swap")] == [
        *("route", "stop", "swap", "route", "stop")  # b is removed, then a replaced
    ]


def state(active: str, *, job: bool = False) -> UnitState:
    return UnitState("loaded", active, "success", job, restarts=0, main_pid=0, active_since_s=0)


def test_a_unit_is_judged_by_its_state_and_its_job() -> None:
    assert outcome(state("active")) is Outcome.HEALTHY
    assert outcome(state("activating")) is Outcome.STARTING
    assert outcome(state("inactive", job=True)) is Outcome.WAITING
    assert outcome(state("inactive")) is Outcome.STOPPED
    assert outcome(state("failed")) is Outcome.FAILED
