"""How the stateful models run: a fixed number of the same runs, or as long as is asked for."""

from __future__ import annotations

import os
import time

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

SECONDS = float(os.environ.get("LLMHOP_TEST_MODEL_SECONDS", "0"))
"""How long each model runs in place of a fixed number of runs; then the runs are random."""


def run_model(machine: type[RuleBasedStateMachine], runs: int, steps: int) -> None:
    """Run a stateful model that often, or for SECONDS."""
    profile = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=not SECONDS,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    begin, rounds = time.monotonic(), 0
    while rounds == 0 or time.monotonic() < begin + SECONDS:
        run_state_machine_as_test(machine, settings=profile)
        rounds += 1
    if SECONDS:
        took = time.monotonic() - begin
        print(f"{rounds * runs} runs of up to {steps} events in {took:.0f} s, no finding")
