"""Waits until services are up, and reports progress."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from llmhop_generator.host.systemd import UnitState, UserManager
from llmhop_generator.render.provenance import Added
from llmhop_generator.status.cause import describe
from llmhop_generator.status.failures import why_again
from llmhop_generator.unit_names import model_of, source_of

POLL_S = 0.5
_TWICE = 2
_AGAIN = "failed in the same way twice, and systemd goes on trying"
_CERTAIN = "fails, and so will each start that systemd goes on trying"


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
        case "deactivating" if state.has_job and state.result != "success":
            return Outcome.STARTING  # the rest of a start that failed, before the next
        case "inactive" | "deactivating" if state.has_job:
            return Outcome.WAITING
        case "inactive" | "deactivating":
            return Outcome.STOPPED
    return Outcome.FAILED


@dataclass
class Watch:
    """Waits for services of one user, and tells each step of theirs once.

    `report` gets a line for each step, `tick` one at each look to show as the last line of a
    terminal. `added` are the keys that deployers add to units, by the names of their sources. Of
    services that are not `touched` nothing is told as long as they are healthy.
    """

    manager: UserManager
    report: Callable[[str], None]
    tick: Callable[[str], None]
    added: Mapping[str, Sequence[Added]] = field(default_factory=dict)
    touched: Collection[str] = ()
    _begun: float = field(default_factory=time.monotonic)
    _told: dict[str, tuple[Outcome, int]] = field(default_factory=dict)
    _given_up: set[str] = field(default_factory=set)

    def until_up(
        self, services: Sequence[str], healthy: Callable[[str], None] | None = None
    ) -> list[str]:
        """Wait until each service is healthy or will not be; give those that are not.

        It ends because systemd ends every start: by TimeoutStartSec= and the start
        limit. One that fails in the same way twice is not waited for any longer, but
        systemd goes on trying. `healthy` gets each service that is healthy, as it becomes so.
        """
        waiting = set(services)
        while True:
            states = self.manager.states(services)
            now = {service: outcome(states[service]) for service in services}
            for service in services:
                self._tell(service, now[service], states[service])
                self._judge(service, now[service], states[service])
                if service in waiting and now[service] is Outcome.HEALTHY:
                    waiting.discard(service)
                    if healthy is not None:
                        healthy(service)
            pending = [
                service
                for service in services
                if now[service] in (Outcome.WAITING, Outcome.STARTING)
                and service not in self._given_up
            ]
            if not pending:
                return [service for service in services if now[service] is not Outcome.HEALTHY]
            starting = [s for s in pending if now[s] is Outcome.STARTING] or pending
            self.tick(f"{model_of(starting[0])} starting, {time.monotonic() - self._begun:.0f} s")
            time.sleep(POLL_S)

    def _judge(self, service: str, now: Outcome, state: UnitState) -> None:
        """Give a service up whose next starts will fail as the last ones, until it is healthy."""
        if now is Outcome.HEALTHY:
            self._given_up.discard(service)
        if service in self._given_up or not state.waits_to_restart:
            return
        cause = why_again(service, state)
        if cause is not None and (cause.certain or state.failures >= _TWICE):
            self._given_up.add(service)
            told = describe(cause, self.added.get(source_of(service), ()))
            what = _CERTAIN if cause.certain else _AGAIN
            self.report(f"{model_of(service)}: {what}: {told}")

    def _tell(self, service: str, now: Outcome, state: UnitState) -> None:
        step = (now, state.restarts)
        is_past = now is Outcome.HEALTHY and service not in {*self.touched, *self._told}
        if is_past:
            return
        if self._told.get(service) != step:
            self.report(_line(service, now, state, time.monotonic() - self._begun))
        self._told[service] = step


def _line(service: str, now: Outcome, state: UnitState, seconds: float) -> str:
    again = f", restart {state.restarts}" if state.restarts else ""
    what = {
        Outcome.WAITING: "waits for its turn",
        Outcome.STARTING: f"starting{again}",
        Outcome.HEALTHY: f"healthy ({seconds:.0f} s)",
        Outcome.STOPPED: "stopped",
        Outcome.FAILED: f"failed: {state.result}",
    }
    return f"{model_of(service)}: {what[now]}"
