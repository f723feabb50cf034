"""Reads from systemd and the journal why a model is not up, or llmhop is not."""

from collections.abc import Sequence

from llmhop_generator.host.systemd import (
    UnitState,
    UserManager,
    system_unit_journal,
    user_unit_journal,
)
from llmhop_generator.layout import ROUTER_UNIT
from llmhop_generator.status.cause import (
    Cause,
    cause_of_ending,
    cause_of_unmet,
    last_cause,
    repeated_cause,
)
from llmhop_generator.status.endings import Ending, with_last
from llmhop_generator.status.journal import FIELDS, NOT_SPAWNED, Record, Start, starts


def _starts(service: str, state: UnitState) -> list[Start]:
    """The starts of a service up to the one that a state tells of; none where that is not there.

    What was written of an earlier one is no cause.
    """
    return _until(state, user_unit_journal(service, FIELDS))


def _until(state: UnitState, journal: Sequence[str]) -> list[Start]:
    found = starts(map(Record.parse, journal))
    last = max((n for n, s in enumerate(found) if s.invocation == state.invocation), default=-1)
    return found[: last + 1]


def why(manager: UserManager, service: str, state: UnitState) -> Cause | None:
    """Why a service is not up, as far as its manager and the journal of this boot tell."""
    if state.unmet:
        return cause_of_unmet(manager.unmet(service, state.unmet))
    if state.result == "exec-condition":
        return cause_of_unmet(["ExecCondition="])
    if state.active == "inactive" and state.result == "success":
        return Cause("it was stopped or came to its end, and nothing starts it again")
    ending = Ending(state.result, state.main_code, state.main_status)
    return last_cause(_starts(service, state)) or cause_of_ending(ending)


def why_again(service: str, state: UnitState) -> Cause | None:
    """Why a service fails again and again, where its last starts failed in the same way, soon."""
    return repeated_cause(_starts(service, state))


def last_lines(service: str, state: UnitState, count: int) -> list[str]:
    """The last lines that a container of a service printed, the latest that printed any."""
    if state.unmet:
        return []
    printed = [start.engine_lines for start in _starts(service, state)]
    found = next((lines for lines in reversed(printed) if any(lines)), [])
    return [line for line in found if line.strip()][-count:]


def why_router(state: UnitState) -> str | None:
    """Why llmhop is not up, in its own last words, or systemd's where it has none."""
    found = _until(state, system_unit_journal(ROUTER_UNIT, FIELDS))
    # A start that is under way may have said nothing yet.
    of = next((start for start in reversed(found) if start.ended_s or _said(start)), Start())
    said = _said(of) or [each.message for each in of.records if each.about == NOT_SPAWNED]
    ending = Ending(state.result, state.main_code, state.main_status)
    # What ended by itself has said why; what something else ended may have said anything.
    if said and ending.code in ("", "exited") and ending.result in ("", "success", "exit-code"):
        return said[-1]
    return with_last(ending.words, said) or None


def _said(start: Start) -> list[str]:
    return [line for r in start.records if r.is_printed for line in r.message.splitlines() if line]
