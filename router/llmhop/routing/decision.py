"""The decisions on a request that a routing table can take (see table)."""

from __future__ import annotations

from typing import Final

import msgspec

from llmhop.config.tables.control_paths import METRICS
from llmhop.config.tables.model import ModelConfig


class Route(msgspec.Struct, frozen=True):
    """A model's config, prepared for writing request heads. Holds secrets: no repr of those.

    `hosts` stand in the order of the config's urls. `paths` are the control paths that all of the
    model's clients may use.

    `target` is what is asked for in place of the request's target, where the two differ.
    `renames` says that the body may name the model by an alias, which the backend doesn't know.
    """

    model: str
    config: ModelConfig
    hosts: tuple[bytes, ...]
    overridden: frozenset[bytes]
    overrides_own: bool
    header_lines: bytes
    paths: frozenset[str] = frozenset()
    target: bytes | None = None
    renames: bool = False

    def __repr__(self) -> str:
        return f"Route({self.model!r}, {', '.join(str(url.origin) for url in self.config.urls)})"


class Principal(msgspec.Struct, frozen=True):
    """Whom a request is from, as its token tells; without a name, whoever may use llmhop.

    `models` are those that it may use, None for all; `paths` the control paths, those of models and
    llmhop's own. `is_limited` says that it has a quota.
    """

    name: str
    models: frozenset[str] | None
    paths: frozenset[str]
    is_limited: bool = False

    def may_use(self, model: str) -> bool:
        """Whether it may send requests to a model."""
        return self.models is None or model in self.models


ANYONE: Final = Principal("", None, frozenset({METRICS}))
"""Who needs no token, or has one of authTokens."""


class Answer(msgspec.Struct, frozen=True):
    """A response of llmhop's own: JSON, or nothing with 204. `fields` are lines of its head."""

    body: bytes
    status: int = 200
    fields: bytes = b""


class MetricsPage(msgspec.Struct, frozen=True):
    """The page that Prometheus asks for."""


class ReadinessQuery(msgspec.Struct, frozen=True):
    """A question for the state of the backends; with `detailed`, of each model by name.

    With `model`, it is for that one alone. `hops` is through how many llmhops it came.
    """

    detailed: bool
    model: str | None = None
    hops: int = 0
