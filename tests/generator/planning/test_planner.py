"""The plan: which steps a change takes, and in which order."""

import json
from dataclasses import replace

import pytest
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.planning.plan_text import as_json, lines
from llmhop_generator.planning.planner import make_plan
from llmhop_generator.planning.steps import (
    Await,
    Batch,
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
    Wanted,
)
from llmhop_generator.render.start_note import note_of, with_environment
from llmhop_generator.router.routes import Routing
from llmhop_generator.status.wait import Outcome, outcome

from tests.generator.support.plans import (
    A_SERVICE,
    B_SERVICE,
    C_SERVICE,
    UID,
    A,
    B,
    C,
    batch,
    present,
    router,
    served,
    source,
    steps,
    wanted,
)


def test_nothing_changes_where_all_is_as_wanted() -> None:
    assert steps(wanted(served("ab")), present(served("ab"))) == ()


def test_a_new_model_is_written_and_started_and_its_route_follows_its_health() -> None:
    to = served("ab")
    assert steps(wanted(to), present(served("a"))) == (
        Stage(UID, write={B: to[B]}),
        Swap(UID),
        Reload(UID),
        Start(UID, (B_SERVICE,)),
        Await(UID, (B_SERVICE,), ("b",)),
    )


def test_where_nobody_waits_a_new_model_has_its_route_before_it_starts() -> None:
    to = served("ab")
    assert steps(wanted(to), present(served("a")), wait=False)[3:] == (
        Route(Routing({"a": 18001, "b": 18002}), come=("b",)),
        Start(UID, (B_SERVICE,)),
    )


def test_a_changed_model_stops_without_a_route_and_its_unit_is_replaced_while_it_is_down() -> None:
    there, changed = served("ab"), source("Exec=2", port=18002)
    taken = steps(wanted({**there, B: changed}), present(there))
    assert taken == (batch("b", changed, {"a": 18001, "b": 18002}),)


def test_the_route_of_the_only_model_stays_because_llmhop_needs_one() -> None:
    [last] = steps(wanted(served("a", "Exec=2")), present(served("a")))
    assert isinstance(last, Batch)
    assert last.steps == (
        Stage(UID, write=served("a", "Exec=2")),
        Stop(UID, (A_SERVICE,)),
        Swap(UID),
        Reload(UID),
        Start(UID, (A_SERVICE,)),
        Await(UID, (A_SERVICE,)),
    )


def test_where_the_only_model_moves_its_route_does_before_it_starts_again() -> None:
    moved = {A: source(port=18009)}
    [last] = steps(wanted(moved), present(served("a")))
    assert isinstance(last, Batch)
    assert last.steps[3:] == (
        Reload(UID),
        Route(Routing({"a": 18009}, frozenset({"a"})), moved=("a",)),
        Start(UID, (A_SERVICE,)),
        Await(UID, (A_SERVICE,)),
    )


def test_a_model_that_only_moved_in_the_start_order_runs_on() -> None:
    there, moved = served("a", "After=vllm-b.service"), served("a", "After=vllm-c.service")
    assert steps(wanted({**moved, **served("b")}), present({**there, **served("b")})) == (
        Stage(UID, write=moved),
        Swap(UID),
        Reload(UID),
    )


def test_a_unit_that_waits_for_its_turn_has_its_new_place_in_the_start_order() -> None:
    """Or its old one and the new one of another unit could be a circle."""
    there = {A: source("X=1", port=18001), B: source("X=1\nAfter=vllm-a.service", port=18002)}
    to = {A: source("X=2\nAfter=vllm-b.service", port=18003), B: source("X=1", port=18002)}
    first, *_ = steps(wanted(to), present(there))
    assert isinstance(first, Stage)
    assert first.write[B] == to[B]
    assert "After=vllm-b.service\n" in first.write[A]
    assert "X=2" not in first.write[A]
    assert note_of(first.write[A]) == note_of(there[A])


def test_a_removed_model_loses_its_route_then_stops_then_its_source_goes() -> None:
    assert steps(wanted(served("a")), present(served("ab"))) == (
        Stage(UID, delete=(B,)),
        Route(Routing({"a": 18001}), gone=("b",)),
        Stop(UID, (B_SERVICE,)),
        Swap(UID),
        Reload(UID),
    )


def test_the_last_started_of_several_removed_models_stops_first() -> None:
    taken = steps(wanted(served("a")), present(served("abc")))
    assert Stop(UID, (C_SERVICE, B_SERVICE)) in taken


def test_a_model_whose_environment_file_changed_is_restarted_and_no_other() -> None:
    there = served("ab")
    to = {A: with_environment(there[A], "new"), B: there[B]}
    plan = make_plan(wanted(to), present(there))
    assert plan.steps == (batch("a", to[A], {"a": 18001, "b": 18002}),)
    assert ("write", A, "its environment file changed") in lines(plan)
    assert ("stop", A_SERVICE, "its environment file changed") in lines(plan)


def test_a_model_of_whose_health_nobody_would_tell_is_started_again() -> None:
    both = served("ab")
    plan = make_plan(wanted(both), present(both, b="stalled"))
    assert plan.steps == (batch("b", None, {"a": 18001, "b": 18002}),)
    assert ("stop", B_SERVICE, "its podman was killed while it started") in lines(plan)


@pytest.mark.parametrize(
    ("started_by", "there", "told"),
    [
        ("Exec=1", "Exec=1", "changed"),
        ("Exec=0", "Exec=1", "it runs by an earlier unit"),
        ("Exec=0", "Exec=2", "it runs by an earlier unit"),
        (None, "Exec=1", "nothing tells by which unit it runs"),
        (None, "Exec=2", "nothing tells by which unit it runs"),
    ],
)
def test_a_restart_is_told_with_the_reason_for_which_it_was_decided(
    started_by: str | None, there: str, told: str
) -> None:
    host = present(served("a", there), served("a", started_by) if started_by else None)
    if started_by is None:
        host = replace(host, notes={})
    assert ("stop", A_SERVICE, told) in lines(make_plan(wanted(served("a", "Exec=2")), host))


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_model_that_is_down_is_started_and_one_that_starts_is_left_to_it(state: str) -> None:
    both = served("ab")
    taken = steps(wanted(both), present(both, a=state, b="activating"))
    assert Start(UID, (A_SERVICE,)) in taken
    assert not [step for step in taken if isinstance(step, Stage | Swap)]


def test_a_model_that_is_merely_down_keeps_the_route_that_it_has() -> None:
    both = served("ab")
    taken = steps(wanted(both), present(both, a="inactive"))
    assert taken == (Reload(UID), Start(UID, (A_SERVICE,)), Await(UID, (A_SERVICE,)))


def test_a_model_that_is_down_and_moves_has_no_route_until_it_is_there() -> None:
    to = {**served("a"), B: source(port=18009)}
    taken = steps(wanted(to), present(served("ab"), b="failed"))
    assert taken[1] == Route(Routing({"a": 18001, "b": 18002}, frozenset({"b"})), gone=("b",))
    assert taken[-1] == Await(UID, (B_SERVICE,), ("b",))


def test_a_manager_that_has_not_read_the_units_since_they_changed_reads_them() -> None:
    both = served("ab")
    assert steps(wanted(both), replace(present(both), outdated=frozenset({UID}))) == (Reload(UID),)


def test_images_are_pulled_before_all_else_and_only_for_what_starts() -> None:
    there = {A: source(image="r/a:1"), B: source(image="r/b:1", port=18002)}
    new = source(image="r/new@sha256:0", pull="missing", port=18003)
    newer = source("Exec=2", image="r/b:1", port=18002)
    now = replace(present(there), images=frozenset({"r/a:1", "r/b:1"}))
    taken = steps(wanted({A: there[A], B: newer, C: new}), now)
    assert taken[:2] == (Pull(UID, "r/b:1", optional=True), Pull(UID, "r/new@sha256:0", False))
    assert not [step for step in taken[2:] if isinstance(step, Pull)]


def test_an_image_that_was_made_here_or_is_pinned_is_not_asked_for_again() -> None:
    pinned = source(image="r/a@sha256:0", pull="missing", port=18002)
    now = replace(present({}), images=frozenset({"localhost/i:1", "r/a@sha256:0"}))
    taken = steps(wanted({A: source(), B: pinned}), now)
    assert not [step for step in taken if isinstance(step, Pull)]


def test_where_podman_can_not_be_asked_no_image_is_taken_for_missing() -> None:
    there = {A: source(), B: source(image="r/b:1", port=18002)}
    there[C] = source(image="r/c@sha256:0", pull="missing", port=18003)
    plan = make_plan(wanted(there), Present(images=None, open_files=10))
    told = [line for line in lines(plan) if line[0] == "pull"]
    assert told == [
        ("pull", "r/b:1", "if it is missing or there is a newer one"),
        ("pull", "r/c@sha256:0", "if it is missing"),
    ]


def test_a_users_manager_is_started_and_its_limit_raised_first() -> None:
    to = replace(wanted({A: source()}), open_files=20)
    now = Present(images=frozenset({"localhost/i:1"}), open_files=10)
    assert steps(to, now)[:2] == (StartManager(UID), RaiseLimit(UID, 20))
    assert RaiseLimit(UID, 20) not in steps(to, replace(now, limits_are_fixed=True))


def test_a_manager_whose_podman_has_lost_its_containers_is_started_afresh() -> None:
    now = replace(present({A: source()}), states={}, images=None, lost_containers=True)
    plan = make_plan(wanted({A: source()}), now)
    assert plan.steps[0] == StartManager(UID, (A_SERVICE,), afresh=True)
    what, target, why = lines(plan)[0]
    assert (what, target) == ("restart", f"user@{UID}.service")
    assert why.startswith("Podman takes containers for running that are gone")


def test_what_a_users_manager_starts_with_itself_is_not_started_again() -> None:
    there = served("ab")
    down = replace(present(there), states={}, notes={})
    start = StartManager(UID, (A_SERVICE, B_SERVICE))
    assert steps(wanted(there), down) == (start,)
    unread = replace(down, drifted={UID: frozenset({B})})
    begun = steps(wanted(there), unread)
    assert begun[0] == StartManager(UID, (A_SERVICE,))
    assert Start(UID, (B_SERVICE,)) in begun
    changed = {**there, B: source("Exec=x", port=18002)}
    assert steps(wanted(changed), down) == (
        start,
        *steps(wanted(changed), replace(present(there, a="activating", b="activating"))),
    )


def test_the_units_of_a_user_that_serves_no_longer_go_before_the_new_ones_start() -> None:
    old = {A: source()}
    now = Present(
        sources={502: old, 504: {}},
        states={502: {A_SERVICE: "active"}, UID: {}},
        images=frozenset({"localhost/i:1"}),
        router=router(old),
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
    there, as_it_is = served("a"), Route(Routing({"a": 18001}))
    to = replace(wanted(there), router=router(there, workers=2))
    assert steps(to, present(there)) == (as_it_is,)
    assert steps(wanted(there), replace(present(there), router_runs=False)) == (as_it_is,)


def carried_out(plan: Plan) -> Present:
    """The host as the steps of a plan leave it, each model having become healthy."""
    now, to = plan.present, plan.wanted
    taken = [e for s in plan.steps for e in (s.steps if isinstance(s, Batch) else [s])]
    uids = {step.uid for step in taken if isinstance(step, Swap)}
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
        wanted({**served("a", "Exec=2"), **served("c")}),
        wanted({A: with_environment(source(), "new")}),
        replace(wanted(served("b")), uid=504),
    ],
)
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(to: Wanted) -> None:
    now = present(served("ab"))
    plan = make_plan(to, now)
    assert plan.steps
    assert make_plan(to, carried_out(plan)).steps == ()


def test_a_plan_is_told_with_the_changed_keys_of_each_unit() -> None:
    there = {A: source("Exec=serve --x=1 --y=2\nEnvironment=TOKEN=old"), **served("b")}
    new = source("Exec=serve --x=1 --y=3\nEnvironment=TOKEN=new", image="localhost/i:2")
    plan = make_plan(wanted({A: new, **served("c")}), present(there))
    assert ("delete", B, "") in lines(plan)
    assert ("write", C, "new") in lines(plan)
    assert (
        "write",
        A,
        "Environment TOKEN; Exec: --y=2 -> --y=3; Image: localhost/i:1 -> localhost/i:2",
    ) in lines(plan)
    assert ("stop", A_SERVICE, "changed") in lines(plan)
    assert ("stop", B_SERVICE, "removed") in lines(plan)
    assert "old" not in str(lines(plan))
    told = json.loads(as_json(plan))["steps"]
    written = next(step for step in told if step["target"] == A)
    assert [change["key"] for change in written["changed"]] == [
        "Environment TOKEN",
        "Exec",
        "Image",
    ]
    assert [step["step"] for step in told if step["step"] in ("route", "stop", "swap")] == [
        *("route", "stop", "swap", "route", "stop", "swap")  # b is removed, then a replaced
    ]


def state(active: str, *, job: bool = False) -> UnitState:
    return UnitState("loaded", active, "success", job, restarts=0, main_pid=0, active_since_s=0)


def test_a_unit_is_judged_by_its_state_and_its_job() -> None:
    assert outcome(state("active")) is Outcome.HEALTHY
    assert outcome(state("activating")) is Outcome.STARTING
    assert outcome(state("inactive", job=True)) is Outcome.WAITING
    assert outcome(state("inactive")) is Outcome.STOPPED
    assert outcome(state("failed")) is Outcome.FAILED
