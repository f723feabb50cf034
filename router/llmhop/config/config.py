"""The config of the router as the rest of it sees it: checked, secrets resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from llmhop.config.backend_url import BackendUrl
from llmhop.config.listen_address import Address
from llmhop.limits import (
    DEFAULT_DRAIN_S,
    DEFAULT_MAX_BODY_BYTES,
    DEFAULT_MAX_BUFFERED_BYTES,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_QUEUED,
    DEFAULT_MIN_UPLOAD_RATE,
    QUEUE_TIMEOUT_S,
    READ_TIMEOUT_S,
    RESPONSE_TIMEOUT_S,
)

AccessLogFormat = Literal["off", "text", "json"]


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """Where a model runs, and what its backend is given: time, attempts, requests at once.

    `urls` are its replicas, one at least. Times are in seconds: `response_timeout` until the head
    of a response, `read_timeout` between two pieces of it, `queue_timeout` for a place among
    `max_concurrent` requests (None: no limit), `resolve` between two lookups of the urls' hosts
    (None: there are none, and each url is one replica).
    """

    urls: tuple[BackendUrl, ...]
    response_timeout: float = RESPONSE_TIMEOUT_S
    read_timeout: float = READ_TIMEOUT_S
    retries: int = 0
    max_concurrent: int | None = None
    max_queued: int = DEFAULT_MAX_QUEUED
    queue_timeout: float = QUEUE_TIMEOUT_S
    resolve: float | None = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model's backend, the headers that override the client's, and how clients find it."""

    backend: BackendConfig
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    aliases: tuple[str, ...] = ()
    unlisted: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its chain, and its key, as PEM."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """A config that was checked; secrets are resolved and kept out of its repr.

    It is whole without any file, and can be pickled: a supervisor hands it to its workers. `tls`
    holds the listeners' certificate, as it was when the config was read.
    `max_buffered_bytes` and `max_connections` are of all workers together; `min_upload_rate` is in
    bytes a second, and 0 for none; `drain_timeout` is in seconds.
    """

    listen: tuple[Address, ...]
    models: Mapping[str, ModelConfig]
    auth_tokens: tuple[str, ...] = field(default=(), repr=False)
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    max_buffered_bytes: int = DEFAULT_MAX_BUFFERED_BYTES
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    min_upload_rate: int = DEFAULT_MIN_UPLOAD_RATE
    drain_timeout: float = DEFAULT_DRAIN_S
    socket_mode: int = 0o660
    tls: Certificate | None = None
    workers: int = 1
    access_log: AccessLogFormat = "text"


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
