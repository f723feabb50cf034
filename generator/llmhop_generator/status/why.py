"""Finds why models are not up, from systemd and the journal."""

from collections.abc import Iterator, Sequence

from llmhop_generator.host.process import account_of
from llmhop_generator.host.systemd import UnitState, UserManager
from llmhop_generator.planning.steps import Wanted
from llmhop_generator.render.provenance import Added
from llmhop_generator.status.cause import describe
from llmhop_generator.status.failures import last_lines, why
from llmhop_generator.unit_names import model_of, source_of

_LINES = 5


def why_not_up(wanted: Wanted, services: Sequence[str], left: Sequence[str]) -> str:
    """Name the services that are not up, and why each is not.

    `left` were not replaced after that, and run on by their earlier units.

    Raises:
        GeneratorError: the manager of the models' user can't be asked.
    """
    parts = [f"not up: {', '.join(services)}. The other models serve."]
    if left:
        parts.append(
            f"Left as they were: {', '.join(left)}. They serve by their earlier units; apply again "
            "to replace them all the same, or the earlier configuration to go back."
        )
    if wanted.uid is not None:
        manager = UserManager(account_of(wanted.uid))
        for service, state in manager.states(services).items():
            parts += _reason(manager, service, state, wanted.added.get(source_of(service), ()))
    return "\n".join([*parts, f"See more: llmhop-generator logs {model_of(services[0])}"])


def _reason(
    manager: UserManager, service: str, state: UnitState, added: Sequence[Added]
) -> Iterator[str]:
    """The cause, and below one that has no name the last lines that the container printed."""
    cause = why(manager, service, state)
    yield f"{service}: {describe(cause, added) if cause else 'nothing tells why'}"
    if cause is not None and cause.known is None:
        written = last_lines(service, state, _LINES)
        yield from (f"  {line}" for line in written if written != [cause.said])
