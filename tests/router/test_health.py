"""How long a backend that could not be reached is set aside."""

from __future__ import annotations

from llmhop.health import Health


def test_a_backend_is_set_aside_for_a_time_that_doubles_up_to_half_a_minute() -> None:
    health = Health()
    now, times = 100.0, []
    for _ in range(7):
        assert not health.is_aside(now)
        health.failed(now)
        assert health.suspect
        times.append(health.seconds_left(now))
        now += times[-1]
        assert health.is_aside(now - 0.01)
    assert times == [1, 2, 4, 8, 16, 30, 30]


def test_failures_at_the_same_time_count_as_one() -> None:
    health = Health()
    for _ in range(100):
        health.failed(100.0)
    health.failed(100.9)
    assert not health.is_aside(101.0)


def test_a_connection_that_succeeds_clears_what_was_remembered() -> None:
    health = Health()
    for now in (100.0, 200.0, 300.0):
        health.failed(now)
    health.succeeded()
    assert not health.suspect
    assert not health.is_aside(300.0)
    health.failed(301.0)
    assert health.seconds_left(301.0) == 1


def test_after_its_time_one_request_tries_it_and_the_others_wait_for_that_one() -> None:
    health = Health()
    health.failed(100.0)
    assert not health.is_aside(101.0)
    health.try_again(until=111.0)
    assert health.is_aside(110.9)
    assert health.seconds_left(110.9) == 0
    health.failed(102.0)
    assert health.seconds_left(102.0) == 2, "the attempt counts as a further failure"
    assert not health.is_aside(104.0)
    health.try_again(until=114.0)
    assert not health.is_aside(114.0), "an attempt that was given up is no sign"
