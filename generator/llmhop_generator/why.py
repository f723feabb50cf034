"""Says why models are not up, from what they wrote to the journal."""

from collections.abc import Iterator, Sequence

from llmhop_generator.failures import last_lines, why
from llmhop_generator.sources import model_of

_LINES = 5


def why_not_up(services: Sequence[str], left: Sequence[str]) -> str:
    """Name the services that are not up, and why each is not.

    `left` were not replaced after that, and run on by their earlier units.
    """
    parts = [f"not up: {', '.join(services)}. The other models serve."]
    if left:
        parts.append(
            f"Left as they were: {', '.join(left)}. They serve by their earlier units; apply again "
            "to replace them all the same, or the earlier configuration to go back."
        )
    parts += [line for service in services for line in _reason(service)]
    return "\n".join([*parts, f"See more: llmhop-generator logs {model_of(services[0])}"])


def _reason(service: str) -> Iterator[str]:
    """The cause, and below one that has no name the last lines that the container printed."""
    cause = why(service)
    yield f"{service}: {cause or 'nothing tells why'}"
    if cause is not None and cause.known is None:
        written = last_lines(service, _LINES)
        yield from (f"  {line}" for line in written if written != [cause.said])
