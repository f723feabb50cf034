"""The config of the router as the rest of it sees it: checked, secrets resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    workers: int = 1


def after_reload(old: Config, new: Config) -> tuple[Config, list[str]]:
    """Return `new` with what only a restart changes left as it was, and a note on each of it."""
    changed = [
        key
        for key, differs in (
            ("listen", old.listen != new.listen),
            ("socketMode", old.socket_mode != new.socket_mode),
            ("tls", (old.tls is None) != (new.tls is None)),
            ("workers", old.workers != new.workers),
        )
        if differs
    ]
    kept = replace(
        new,
        listen=old.listen,
        socket_mode=old.socket_mode,
        tls=old.tls if "tls" in changed else new.tls,
        workers=old.workers,
    )
    return kept, [f"{key} was changed: this takes effect after a restart" for key in changed]
