"""Waits until services are up, and tells how it goes."""

import time
from collections.abc import Callable, Sequence
from enum import Enum, auto

from llmhop_generator.systemd import UnitState, UserManager

POLL_S = 1.0


class Outcome(Enum):
    """How far a service has come."""

    WAITING = auto()
    STARTING = auto()
    HEALTHY = auto()
    STOPPED = auto()
    FAILED = auto()


def outcome(state: UnitState) -> Outcome:
    """Judge a unit's state. With Notify=healthy, active means healthy."""
    match state.active:
        case "active" | "reloading":
            return Outcome.HEALTHY
        case "activating":
            return Outcome.STARTING
        case "inactive" | "deactivating" if state.has_job:
            return Outcome.WAITING
        case "inactive" | "deactivating":
            return Outcome.STOPPED
    return Outcome.FAILED


def wait_until_up(
    manager: UserManager,
    services: Sequence[str],
    report: Callable[[str], None],
    tick: Callable[[str], None],
    healthy: Callable[[str], None],
) -> list[str]:
    """Wait until each service is healthy or will not be; give those that are not.

    It ends because systemd ends every start: by TimeoutStartSec= and the start
    limit. `report` gets a line for each step, `tick` one a second to show as the
    last line of a terminal. `healthy` gets each service that has become so.
    """
    begun = time.monotonic()
    seen: dict[str, tuple[Outcome, int]] = {}
    while True:
        states = manager.states(services)
        now = {service: outcome(states[service]) for service in services}
        for service in services:
            step = (now[service], states[service].restarts)
            if seen.get(service) != step:
                report(_line(service, now[service], states[service], time.monotonic() - begun))
                if now[service] is Outcome.HEALTHY:
                    healthy(service)
            seen[service] = step
        pending = [s for s in services if now[s] in (Outcome.WAITING, Outcome.STARTING)]
        if not pending:
            return [service for service in services if now[service] is not Outcome.HEALTHY]
        starting = [s for s in pending if now[s] is Outcome.STARTING] or pending
        tick(f"{_model(starting[0])} starting, {time.monotonic() - begun:.0f} s")
        time.sleep(POLL_S)


def _model(service: str) -> str:
    return service.removeprefix("vllm-").removesuffix(".service")


def _line(service: str, now: Outcome, state: UnitState, seconds: float) -> str:
    again = f", restart {state.restarts}" if state.restarts else ""
    what = {
        Outcome.WAITING: "waits for its turn",
        Outcome.STARTING: f"starting{again}",
        Outcome.HEALTHY: f"healthy ({seconds:.0f} s)",
        Outcome.STOPPED: "stopped",
        Outcome.FAILED: f"failed: {state.result}",
    }
    return f"{_model(service)}: {what[now]}"
