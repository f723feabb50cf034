"""Reads from the journal why a model is not up."""

from llmhop_generator.cause import Cause, last_cause, repeated_cause
from llmhop_generator.journal import FIELDS, Record, Start, starts
from llmhop_generator.systemd import user_unit_journal


def _starts(service: str) -> list[Start]:
    return starts(map(Record.parse, user_unit_journal(service, FIELDS)))


def why(service: str) -> Cause | None:
    """Why a service is not up, as far as the journal of this boot tells."""
    return last_cause(_starts(service))


def why_again(service: str) -> Cause | None:
    """Why a service fails again and again, where its last starts failed in the same way, soon."""
    return repeated_cause(_starts(service))


def last_lines(service: str, count: int) -> list[str]:
    """The last lines that a container of a service printed, the latest that printed any."""
    printed = [start.engine_lines for start in _starts(service)]
    found = next((lines for lines in reversed(printed) if any(lines)), [])
    return [line for line in found if line.strip()][-count:]
