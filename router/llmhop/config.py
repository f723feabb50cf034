"""The config of the router as the rest of it sees it: checked, secrets resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmhop.limits import DEFAULT_MAX_BODY_BYTES
from llmhop.listen import Address
from llmhop.urls import BackendUrl

if TYPE_CHECKING:  # slow to import, and rarely needed
    import ssl


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Where a model runs, the headers that override the client's, and how clients find it."""

    url: BackendUrl
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    aliases: tuple[str, ...] = ()
    unlisted: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """A config that was checked; secrets are resolved and kept out of its repr.

    `tls` holds the listeners' certificate, as it was when the config was read.
    """

    listen: tuple[Address, ...]
    models: Mapping[str, ModelConfig]
    auth_tokens: tuple[str, ...] = field(default=(), repr=False)
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    socket_mode: int = 0o660
    tls: ssl.SSLContext | None = None
