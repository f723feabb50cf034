"""Batches: which of the models that change are down at the same time, and which never."""

from dataclasses import replace

import pytest
from llmhop_generator.planning.steps import (
    Await,
    Batch,
    Present,
    Reload,
    Route,
    Stage,
    Start,
    Stop,
    Swap,
    Wanted,
)
from llmhop_generator.router.routes import Routing

from tests.generator.support.plans import (
    A_SERVICE,
    B_SERVICE,
    C_SERVICE,
    PORTS,
    UID,
    A,
    B,
    C,
    batch,
    on,
    present,
    router,
    served,
    source,
    steps,
    wanted,
)


def batches(to: Wanted, now: Present) -> list[tuple[str, ...]]:
    """The models of each batch."""
    taken = [step for step in steps(to, now) if isinstance(step, Batch)]
    return [tuple(service[5:-8] for service in step.services) for step in taken]


def test_models_that_may_share_a_device_are_replaced_one_after_the_other() -> None:
    to = served("abc", "Exec=2")
    each = [batch(name[5:-10], text, PORTS) for name, text in to.items()]
    assert steps(wanted(to), present(served("abc"))) == tuple(each)


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
    there = {A: on(*one), B: on(*other, port=18002)}
    to = wanted({A: on(*one, text="Exec=2"), B: on(*other, text="Exec=2", port=18002)})
    assert batches(to, present(there)) == ([("a",), ("b",)] if share else [("a", "b")])


def test_models_that_go_side_by_side_do_not_wait_for_one_another_to_start() -> None:
    there = {A: on(f"{GPU}0"), B: on(f"{GPU}1", port=18002), **served("c")}
    to = {A: on(f"{GPU}0", text="Exec=2"), B: on(f"{GPU}1", text="Exec=2", port=18002)}
    [replaced] = steps(wanted({**to, **served("c")}), present(there))
    assert isinstance(replaced, Batch)
    assert replaced.steps == (
        Stage(UID, write=to),
        Route(Routing(PORTS, frozenset({"a", "b"})), gone=("a", "b")),
        Stop(UID, (A_SERVICE, B_SERVICE)),
        Swap(UID),
        Reload(UID),
        Start(UID, (A_SERVICE, B_SERVICE), apart=True),
        Await(UID, (A_SERVICE, B_SERVICE), ("a", "b")),
    )


def test_a_model_that_comes_to_a_device_waits_for_the_one_that_has_it() -> None:
    there = {A: on(f"{GPU}0"), B: on(f"{GPU}1", port=18002)}
    to = wanted({A: on(f"{GPU}2"), B: on(f"{GPU}0", port=18002)})
    assert batches(to, present(there)) == [("a",), ("b",)]


def test_models_that_run_by_units_that_are_gone_may_have_any_device() -> None:
    new = {A: on(f"{GPU}0"), B: on(f"{GPU}1", port=18002)}
    earlier = {A: on(f"{GPU}0", text="Exec=0"), B: on(f"{GPU}1", text="Exec=0", port=18002)}
    assert batches(wanted(new), present(new, run_by=earlier)) == [("a",), ("b",)]


def test_what_runs_by_a_unit_that_is_gone_is_replaced_though_its_file_is_the_new_one() -> None:
    new = {**served("ab", "Exec=2"), **served("c")}
    now = present(new, run_by=served("b", "Exec=1"))
    assert steps(wanted(new), now) == (Reload(UID), batch("b", None, PORTS))


def test_what_a_killed_run_stopped_comes_before_what_still_runs() -> None:
    new = served("ab", "Exec=2")
    now = present(new, run_by=served("ab", "Exec=1"), b="inactive")
    assert batches(wanted(new), now) == [("b",), ("a",)]


def test_nothing_stops_while_a_model_of_an_earlier_run_starts() -> None:
    new = {**served("ab", "Exec=2"), **served("c")}
    there = {**new, **served("b")}
    assert steps(wanted(new), present(there, a="activating")) == (
        Await(UID, (A_SERVICE,)),
        batch("b", new[B], PORTS),
    )


def test_a_model_that_failed_or_is_new_starts_after_all_that_is_replaced() -> None:
    to = {**served("ac"), **served("b", "Exec=2")}
    assert steps(wanted(to), present(served("ab"), a="failed"))[-3:] == (
        batch("b", to[B], PORTS, hidden=("c",)),
        Start(UID, (A_SERVICE, C_SERVICE)),
        Await(UID, (A_SERVICE, C_SERVICE), ("c",)),
    )


def test_where_nobody_waits_all_that_is_replaced_stops_before_any_of_it_starts() -> None:
    new, stays = served("ab", "Exec=2"), served("c")
    assert steps(wanted({**new, **stays}), present(served("abc")), wait=False) == (
        Stage(UID, write=new),
        Route(Routing(PORTS, frozenset({"a", "b"})), gone=("a", "b")),
        Stop(UID, (B_SERVICE, A_SERVICE)),
        Swap(UID),
        Reload(UID),
        Route(Routing(PORTS), come=("a", "b")),
        Start(UID, (A_SERVICE, B_SERVICE)),
    )


def test_models_that_swap_ports_both_stop_before_either_starts() -> None:
    there = {A: source(port=1), B: source(port=2), C: source(port=3)}
    to = {A: source(port=2), B: source(port=1), C: source(port=3)}
    both, then = frozenset({"a", "b"}), {"a": 1, "b": 2, "c": 3}
    assert steps(wanted(to), present(there)) == (
        Stage(UID, write={A: to[A], B: to[B]}),
        Route(Routing(then, both), gone=("a", "b")),
        Stop(UID, (B_SERVICE, A_SERVICE)),
        Swap(UID),
        Reload(UID),
        Batch((A_SERVICE,), (Start(UID, (A_SERVICE,)), Await(UID, (A_SERVICE,), ("a",)))),
        Batch((B_SERVICE,), (Start(UID, (B_SERVICE,)), Await(UID, (B_SERVICE,), ("b",)))),
    )


def test_a_route_leads_to_the_port_that_a_model_has_until_its_batch() -> None:
    there = {A: source(port=1), B: source(port=2)}
    to = {A: source("Exec=2", port=1), B: source(port=3)}
    first, second = steps(wanted(to), present(there))
    assert first == batch("a", to[A], {"a": 1, "b": 2})
    assert second == batch("b", to[B], {"a": 1, "b": 2})


def test_a_route_leads_to_where_a_model_runs_though_its_file_says_another_port() -> None:
    new = {**served("a"), B: source(port=18009)}
    now = replace(present(new, run_by=served("b")), router=router(new))
    route, _, replaced = steps(wanted(new), now)
    assert route == Route(Routing({"a": 18001, "b": 18002}))
    assert replaced == batch("b", None, {"a": 18001, "b": 18002})


def test_a_model_in_the_way_is_known_by_its_file_where_it_left_no_note() -> None:
    to = {A: source(port=18009), B: source(port=18001)}
    now = replace(present(served("a")), notes={})
    assert Stop(UID, (A_SERVICE,)) in steps(wanted(to), now)
