"""How long a backend that failed is left alone before it is asked again."""

from __future__ import annotations

from llmhop.upstream.health import Health


def test_a_backend_is_asked_again_after_a_time_that_doubles_up_to_half_a_minute() -> None:
    health = Health()
    now, times = 100.0, []
    for _ in range(7):
        health.failed(now)
        assert health.ejected
        times.append(health.seconds_left(now))
        now += times[-1]
        assert not health.probe_due(now - 0.01)
        assert health.probe_due(now)
    assert times == [1, 2, 4, 8, 16, 30, 30]


def test_failures_at_the_same_time_count_as_one() -> None:
    health = Health()
    for _ in range(100):
        health.failed(100.0)
    health.failed(100.9)
    assert health.seconds_left(100.0) == 1


def test_an_answer_clears_what_was_remembered() -> None:
    health = Health()
    for now in (100.0, 200.0, 300.0):
        health.failed(now)
    health.succeeded()
    assert not health.ejected
    assert not health.probe_due(1000.0)
    health.failed(301.0)
    assert health.seconds_left(301.0) == 1
