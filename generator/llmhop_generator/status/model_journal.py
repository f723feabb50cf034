"""Which journal `logs` shows."""

from difflib import get_close_matches

from llmhop_generator.errors import GeneratorError
from llmhop_generator.render.unit_reader import entries
from llmhop_generator.state.present import read_sources, read_started


def journal_of(model: str, *, lines: int, follow: bool) -> list[str]:
    """Give the command that shows the journal of a model, by its name.

    Raises:
        GeneratorError: this host has no such model.
    """
    services = _services()
    if model not in services:
        if close := get_close_matches(model, services, n=1):
            hint = f"; did you mean {close[0]}?"
        else:
            hint = f"; there {'is' if len(services) == 1 else 'are'} {', '.join(services)}"
        hint = hint if services else ""
        raise GeneratorError(f"{model!r} is no model of this host{hint}")
    words = ["journalctl", "-n", str(lines), "-o", "short-iso", "--no-hostname"]
    words += ["-f"] if follow else ["--no-pager"]
    return [*words, f"_SYSTEMD_USER_UNIT={services[model]}"]


def model_names() -> list[str]:
    """The models of this host.

    Raises:
        GeneratorError: their units can't be read.
    """
    return sorted(_services())


def _services() -> dict[str, str]:
    """The services of models by name, also of those that were started and have no unit any more."""
    found: dict[str, str] = {}
    for uid, texts in read_sources().items():
        found |= {each.name: each.service for each in entries({**texts, **read_started(uid)})}
    return found
