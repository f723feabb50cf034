"""Says why models are not up, from what they wrote to the journal."""

from collections.abc import Sequence

from llmhop_generator.sources import model_of
from llmhop_generator.systemd import user_unit_messages

_LINES = 5


def why_not_up(services: Sequence[str], left: Sequence[str]) -> str:
    """Name the services that are not up, with the last lines that each has written.

    `left` were not replaced after that, and run on by their earlier units.
    """
    parts = [f"not up: {', '.join(services)}. The other models serve."]
    if left:
        parts.append(
            f"Left as they were: {', '.join(left)}. They serve by their earlier units; apply again "
            "to replace them all the same, or the earlier configuration to go back."
        )
    for service in services:
        written = user_unit_messages(service, _LINES)
        parts += [f"{service} wrote last:", *(f"  {line}" for line in written or ["nothing"])]
    return "\n".join([*parts, f"See more: llmhop-generator logs {model_of(services[0])}"])
