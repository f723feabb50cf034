"""Turns: which of the models that change are down at the same time, and which never."""

from dataclasses import replace

import pytest
from llmhop_generator.routes import as_text
from llmhop_generator.steps import (
    Await,
    Present,
    Reload,
    Route,
    Start,
    Stop,
    Swap,
    Turn,
    Wanted,
    without_turns,
)

from tests.generator.plans import (
    A_SERVICE,
    B_SERVICE,
    C_SERVICE,
    UID,
    A,
    B,
    C,
    on,
    present,
    source,
    steps,
    turn,
    wanted,
)


def turns(to: Wanted, now: Present) -> list[tuple[str, ...]]:
    """The models of each turn."""
    taken = [step for step in steps(to, now) if isinstance(step, Turn)]
    return [tuple(service[5:-8] for service in step.services) for step in taken]


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
