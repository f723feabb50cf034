"""The plan: which steps a change takes, and in which order."""

import json
from dataclasses import replace

import pytest
from llmhop_generator.plan import make_plan
from llmhop_generator.plan_text import as_json, as_table, lines
from llmhop_generator.progress import Outcome, outcome
from llmhop_generator.routes import as_text
from llmhop_generator.start_note import note_of, with_environment, with_note
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
    Step,
    Stop,
    StopRouter,
    Swap,
    Turn,
    Wanted,
    without_turns,
)
from llmhop_generator.systemd import UnitState

UID = 503
A, B, C = "vllm-a.container", "vllm-b.container", "vllm-c.container"
A_SERVICE, B_SERVICE, C_SERVICE = "vllm-a.service", "vllm-b.service", "vllm-c.service"


def source(
    text: str = "", image: str = "localhost/i:1", pull: str = "newer", port: int = 18001
) -> str:
    bare = f"[Container]\nImage={image}\nPull={pull}\n{text}\n\n[Service]\n"
    return with_note(bare, "vllm-x", port)


def on(*devices: str, text: str = "") -> str:
    """A source with devices."""
    return source("\n".join([*(f"AddDevice={device}" for device in devices), text]))


def router(*models: str) -> str:
    return as_text({"listen": "127.0.0.1:8080", "models": {name: {} for name in models}})


def models(sources: dict[str, str]) -> list[str]:
    return [name[5:-10] for name in sources]


def present(
    sources: dict[str, str], run_by: dict[str, str] | None = None, **states: str
) -> Present:
    """A host that serves `sources`, each active where `states` does not say otherwise.

    `run_by` has the sources by which models were started, where they are other ones.
    """
    found = dict.fromkeys((f"vllm-{model}.service" for model in models(sources)), "active")
    found |= {f"vllm-{model}.service": state for model, state in states.items()}
    notes = {name: note_of(text) for name, text in (sources | (run_by or {})).items()}
    return Present(
        sources={UID: sources},
        states={UID: found},
        notes={name: note for name, note in notes.items() if note is not None},
        images=frozenset({"localhost/i:1"}),
        router=router(*models(sources)),
        router_runs=True,
    )


def wanted(sources: dict[str, str]) -> Wanted:
    return Wanted(UID, sources, router(*models(sources)))


def steps(to: Wanted, now: Present) -> tuple[Step, ...]:
    return make_plan(to, now).steps


def turn(model: str, hidden: tuple[str, ...] = ()) -> Turn:
    """A model that is replaced alone, the others routed to but `hidden`."""
    service = f"vllm-{model}.service"
    return Turn(
        (service,),
        (
            Route(frozenset({model, *hidden}), gone=(model,)),
            Stop(UID, (service,)),
            Start(UID, (service,)),
            Await(UID, (service,), (model,), frozenset(hidden)),
        ),
    )


def turns(to: Wanted, now: Present) -> list[tuple[str, ...]]:
    """The models of each turn."""
    taken = [step for step in steps(to, now) if isinstance(step, Turn)]
    return [tuple(service[5:-8] for service in step.services) for step in taken]


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


def test_models_that_may_share_a_device_are_replaced_one_after_the_other() -> None:
    there = {A: source(), B: source(), C: source()}
    to = wanted({name: source("Exec=2") for name in there})
    assert steps(to, present(there))[3:] == (turn("a"), turn("b"), turn("c"))


GPU = "nvidia.com/gpu="


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ((f"{GPU}0",), (f"{GPU}1",), False),
        ((f"{GPU}0", f"{GPU}1"), (f"{GPU}1", f"{GPU}2"), True),
        ((f"{GPU}0",), (f"{GPU}all",), True),
        ((f"{GPU}0",), (), True),
        ((), (), True),
        ((f"{GPU}0",), (f"{GPU}GPU-4e1",), True),
        ((f"{GPU}GPU-4e1",), (f"{GPU}GPU-4e2",), False),
        ((f"{GPU}0:1",), (f"{GPU}0:2",), False),
        ((f"{GPU}0:1",), (f"{GPU}0",), True),
        ((f"{GPU}1",), ("/dev/nvidia0",), True),
        (("/dev/nvidia0", "/dev/nvidiactl"), ("/dev/nvidia1", "/dev/nvidiactl"), False),
        (("-/dev/dri/renderD128:/dev/a:r", "/dev/kfd"), ("/dev/dri/renderD129", "/dev/kfd"), False),
        (("/dev/dri/renderD128",), ("/dev/dri/card1",), True),
    ],
)
def test_models_go_side_by_side_where_they_have_devices_of_their_own(
    one: tuple[str, ...], other: tuple[str, ...], share: bool
) -> None:
    there = {A: on(*one), B: on(*other)}
    to = wanted({A: on(*one, text="Exec=2"), B: on(*other, text="Exec=2")})
    assert turns(to, present(there)) == ([("a",), ("b",)] if share else [("a", "b")])


def test_models_that_go_side_by_side_do_not_wait_for_one_another_to_start() -> None:
    there = {A: on(f"{GPU}0"), B: on(f"{GPU}1"), C: source()}
    to = wanted({A: on(f"{GPU}0", text="Exec=2"), B: on(f"{GPU}1", text="Exec=2"), C: source()})
    [replaced] = [step for step in steps(to, present(there)) if isinstance(step, Turn)]
    assert replaced.steps == (
        Route(frozenset({"a", "b"}), gone=("a", "b")),
        Stop(UID, (A_SERVICE, B_SERVICE)),
        Start(UID, (A_SERVICE, B_SERVICE), apart=True),
        Await(UID, (A_SERVICE, B_SERVICE), ("a", "b")),
    )


def test_a_model_that_comes_to_a_device_waits_for_the_one_that_has_it() -> None:
    there = {A: on(f"{GPU}0"), B: on(f"{GPU}1")}
    to = wanted({A: on(f"{GPU}2"), B: on(f"{GPU}0")})
    assert turns(to, present(there)) == [("a",), ("b",)]


def test_models_that_run_by_units_that_are_gone_may_have_any_device() -> None:
    new = {A: on(f"{GPU}0"), B: on(f"{GPU}1")}
    earlier = {A: on(f"{GPU}0", text="Exec=0"), B: on(f"{GPU}1", text="Exec=0")}
    assert turns(wanted(new), present(new, run_by=earlier)) == [("a",), ("b",)]


def test_what_a_killed_run_did_not_come_to_is_replaced_though_its_file_is_the_new_one() -> None:
    new = {A: source("Exec=2"), B: source("Exec=2"), C: source()}
    now = present(new, run_by={B: source("Exec=1")})
    assert steps(wanted(new), now) == (Reload(UID), turn("b"))


def test_what_a_killed_run_stopped_comes_before_what_still_runs() -> None:
    new = {A: source("Exec=2"), B: source("Exec=2")}
    now = present(new, run_by=dict.fromkeys(new, source("Exec=1")), b="inactive")
    assert turns(wanted(new), now) == [("b",), ("a",)]


def test_nothing_stops_while_a_model_of_an_earlier_run_starts() -> None:
    new = {A: source("Exec=2"), B: source("Exec=2"), C: source()}
    now = present(new, run_by={B: source("Exec=1")}, a="activating")
    assert steps(wanted(new), now) == (Reload(UID), Await(UID, (A_SERVICE,)), turn("b"))


def test_a_model_that_failed_or_is_new_starts_after_all_that_is_replaced() -> None:
    there = {A: source(), B: source()}
    to = wanted({A: source(), B: source("Exec=2"), C: source()})
    assert steps(to, present(there, a="failed"))[-3:] == (
        turn("b", hidden=("c",)),
        Start(UID, (A_SERVICE, C_SERVICE)),
        Await(UID, (A_SERVICE, C_SERVICE), ("c",)),
    )


def test_where_nobody_waits_all_that_is_replaced_stops_before_any_of_it_starts() -> None:
    there = {A: source(), B: source()}
    to = wanted({A: source("Exec=2"), B: source("Exec=2"), C: source()})
    taken = without_turns(steps(to, present(there)))
    assert [step for step in taken if isinstance(step, Stop | Start | Await)] == [
        Stop(UID, (A_SERVICE,)),
        Stop(UID, (B_SERVICE,)),
        Start(UID, (A_SERVICE,)),
        Start(UID, (B_SERVICE,)),
        Start(UID, (C_SERVICE,)),
    ]


def test_models_that_swap_ports_both_stop_before_either_starts() -> None:
    there = {A: source(port=1), B: source(port=2), C: source(port=3)}
    to = wanted({A: source(port=2), B: source(port=1), C: source(port=3)})
    both = frozenset({"a", "b"})
    assert steps(to, present(there))[1:] == (
        Route(both, {"a": 1, "b": 2}, gone=("a", "b")),
        Stop(UID, (B_SERVICE, A_SERVICE)),
        Swap(UID),
        Reload(UID),
        Turn(
            (A_SERVICE,),
            (
                Start(UID, (A_SERVICE,)),
                Await(UID, (A_SERVICE,), ("a",), frozenset({"b"}), {"b": 2}),
            ),
            (("a", 1),),
        ),
        Turn(
            (B_SERVICE,),
            (Start(UID, (B_SERVICE,)), Await(UID, (B_SERVICE,), ("b",))),
            (("b", 2),),
        ),
    )


def test_a_route_leads_to_the_port_that_a_model_has_until_its_turn() -> None:
    there = {A: source(port=1), B: source(port=2)}
    to = replace(
        wanted({A: source("Exec=2", port=1), B: source(port=3)}),
        router=as_text({"workers": 2, "models": {"a": {}, "b": {"url": "http://127.0.0.1:3"}}}),
    )
    first, *_, last = [step for step in steps(to, present(there)) if isinstance(step, Turn | Route)]
    assert first == Route(ports={"b": 2})
    assert isinstance(last, Turn)
    assert last.steps[-1] == Await(UID, (B_SERVICE,), ("b",))


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
