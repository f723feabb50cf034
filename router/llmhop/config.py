"""The config of the router as the rest of it sees it: checked, secrets resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmhop.limits import DEFAULT_MAX_BODY_BYTES
from llmhop.urls import BackendUrl, Listen


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Where a model runs, and the headers that override the client's."""

    url: BackendUrl
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """A config that was checked; secrets are resolved and kept out of its repr."""

    listen: Listen
    models: Mapping[str, ModelConfig]
    auth_tokens: tuple[str, ...] = field(default=(), repr=False)
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
