"""Notes of a check on urls of a config that are valid and probably a mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from llmhop.config.schema.checker import Path
from llmhop.config.tables.model import ModelConfig
from llmhop.routing.target import ROUTE_PREFIX


def url_notes(models: Mapping[str, ModelConfig]) -> Iterator[tuple[Path, str]]:
    """Note what may be wrong with urls: the key, and what to know of it.

    Other programs than llmhop may have such paths, too.
    """
    for name, model in models.items():
        for index, url in enumerate(model.urls):
            path: Path = ("models", name, *(("urls", index) if model.url is None else ("url",)))
            there = _model_there(url.path)
            if there is not None and there != name:
                yield (
                    path,
                    f"leads to the model {there!a}, and bodies name {name!a}; an llmhop there "
                    "refuses that, unless both are names of one model",
                )


def _model_there(path: str) -> str | None:
    """Return the model that a path names to an llmhop, /route/NAME or what lies below, or None."""
    _, prefix, rest = path.rpartition(ROUTE_PREFIX.decode())
    segment = rest.partition("/")[0]
    return unquote(segment, errors="replace") if prefix and segment else None
