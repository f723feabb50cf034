"""The configuration of llmhop: every key, stated once.

A line with `setting` or `required` declares a key: the type of the value here, its kind (what may
be written, and what is said of anything else), its default, its description, and whether a reload
takes it. The parser, `llmhop --schema` and docs/settings.md follow from it.

The keys are those of upstream llmhop and more, so that this program runs on any config of
upstream's. As there, a null stands for a key that is not given, and a `maxBodyBytes` of 0 for the
default. Three differences: `host` and `port` may stand for `listen`; unknown keys are errors; and
without `listen` the router binds 127.0.0.1:8080, where upstream binds port 8080 of every
interface, because a port without authentication must not open to the network by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from llmhop.config.backend_url import Origin
from llmhop.config.findings import ConfigError
from llmhop.config.listen_address import DEFAULT_HOST, DEFAULT_PORT, Address, TcpAddress, leads_to
from llmhop.config.schema.checker import Checker, Path
from llmhop.config.schema.kinds import (
    MAX_BYTES,
    Choice,
    ListOf,
    Seconds,
    Whole,
)
from llmhop.config.schema.table import (
    NotTogether,
    Table,
    Values,
    required,
    setting,
)
from llmhop.config.tables.client import ClientConfig, Clients
from llmhop.config.tables.model import MODEL, ModelConfig, Models
from llmhop.config.values import (
    ALLOWED_HOST,
    FILE,
    HOST,
    MAX_REQUESTS,
    ORIGIN,
    BodySize,
    Listen,
    Mode,
    Port,
    Token,
)
from llmhop.limits import (
    CLIENT_BODY_S,
    DEFAULT_MAX_CONNECTIONS,
    UPLOAD_WINDOW_S,
)

AccessLogFormat = Literal["text", "json", "off"]

_MAX_BODY_BYTES: Final = 100 * 1024 * 1024  # upstream's default
_MAX_BUFFERED_BYTES: Final = 1024 * 1024 * 1024  # ten of the largest bodies


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The files of the listeners' certificate."""

    certificate: str = required(
        FILE,
        "PEM file with the certificate, then its chain. A relative path starts at "
        "$CREDENTIALS_DIRECTORY where that is set. Read again on reload.",
    )
    key: str = required(
        FILE, "PEM file with the private key, not encrypted. Paths as for certificate."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which web pages may use llmhop."""

    origins: tuple[str, ...] = required(
        ListOf(ORIGIN, 'write ["https://app.example"], or [] for none', unique=True),
        'The origins of web pages, such as "https://app.example", that browsers let read what '
        'llmhop answers; "*" for all. Where no tokens are set, requests of others are refused.',
    )


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its chain, and its key, as PEM."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)


class _Tls(Table[Any]):
    """The files of a certificate, which are read."""

    def read(self, check: Checker, path: Path, value: object) -> Certificate | None:
        files = self.values(check, path, value)
        if files is None:
            return None
        try:
            # Also where one of the two is wrong, to tell of the other.
            loaded: Certificate | None = check.load_tls(files.get("certificate"), files.get("key"))
        except ConfigError as error:
            check.findings += error.findings
            return None
        return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A config that was checked; secrets are resolved and kept out of its repr.

    It refers to no file, and can be pickled: a supervisor sends it to its workers. `tls`
    holds the listeners' certificate, as it was when the config was read. Times are in seconds,
    sizes in bytes; those are of all workers together.
    """

    listen: tuple[Address, ...] = setting(
        Listen(),
        (),
        "Address to listen on, or several: host:port, :port for every interface, "
        "or unix:/path for a unix socket. Without it: host and port.",
        at_start="yes",
    )
    host: str = setting(
        HOST,
        DEFAULT_HOST,
        "Address to listen on, beside port; empty for every interface.",
        at_start="yes",
    )
    port: int = setting(
        Port(),
        DEFAULT_PORT,
        "Port to listen on, beside host; 0 lets the kernel choose.",
        at_start="yes",
    )
    socket_mode: int = setting(
        Mode(), 0o660, "Access mode of the unix sockets in listen, in octal.", at_start="yes"
    )
    tls: Certificate | None = setting(
        _Tls(TlsFiles),
        None,
        "Makes every TCP listener an https one. Unix sockets stay as they are.",
        at_start="presence",
    )
    models: Mapping[str, ModelConfig] = required(
        Models(
            "model",
            MODEL,
            'write {"NAME": {"url": "http://127.0.0.1:8000"}}',
        ),
        "The models by the name that clients ask for.",
    )
    auth_tokens: tuple[str, ...] = setting(
        ListOf(Token(), 'write ["${file:PATH}"], or remove it to ask for no token'),
        (),
        "Bearer tokens of which clients must send one. Secrets: ${env:NAME} or "
        "${file:PATH}. Empty: no token is asked for.",
    )
    clients: Mapping[str, ClientConfig] | None = setting(
        Clients(),
        None,
        "Clients that have tokens of their own, by a name that the access log and the metrics tell "
        "them apart by; a client must send one of these tokens or of authTokens.",
    )
    cors: Cors | None = setting(
        Table(Cors),
        None,
        "Which web pages may use llmhop. Without it: those on loopback (localhost, 127.0.0.1 and "
        "the like, on any port), and those of llmhop's own origin.",
    )
    allowed_hosts: tuple[str, ...] = setting(
        ListOf(ALLOWED_HOST, 'write ["llm.example"]', unique=True),
        (),
        "Names of this host, without a port, beside localhost and the host's own. Where an address "
        "in listen is on loopback, without tls, and no tokens are set, a request that asks for "
        'another Host is refused, because web sites can have a name lead there; "*" for any.',
    )
    max_body_bytes: int = setting(
        BodySize(_MAX_BODY_BYTES),
        _MAX_BODY_BYTES,
        "Largest size of a request body, in bytes; 0 stands for the default.",
    )
    max_buffered_bytes: int = setting(
        Whole(1, MAX_BYTES),
        _MAX_BUFFERED_BYTES,
        "Most bytes of request bodies in memory, over all clients: while they come "
        "in and until their backend has taken them. A request beyond it is refused with 503. With "
        "workers each takes its share, which must hold one body of maxBodyBytes; the default grows "
        "to that.",
    )
    max_connections: int = setting(
        Whole(1, MAX_REQUESTS),
        DEFAULT_MAX_CONNECTIONS,
        "Most client connections at once; more are refused with 503 and closed. "
        "With workers each takes its share, rounded up. No more than half of the descriptors "
        "that the process may open.",
    )
    # What Apache's mod_reqtimeout asks for (RequestReadTimeout body=20,MinRate=500).
    min_upload_rate: int = setting(
        Whole(0, MAX_BYTES),
        500,
        "Bytes a second that a request body must come with, on average over any "
        f"{UPLOAD_WINDOW_S:g} seconds in which llmhop reads it; a slower one is refused with 408. "
        f"0: any rate, with pauses of up to {CLIENT_BODY_S:g} seconds.",
    )
    drain_timeout: float = setting(
        Seconds(),
        30.0,
        "How long llmhop, told to stop, waits for the requests in flight, in seconds; then they "
        "are cut off.",
    )
    access_log: AccessLogFormat = setting(
        Choice("format", AccessLogFormat),
        "text",
        "How the access log on standard output tells of each request: as key=value, "
        "as a JSON object a line, or not at all. No bodies, headers and queries.",
    )
    workers: int = setting(
        Whole(1, 256),
        1,
        "Processes that serve, each on a CPU of its own at best.",
        at_start="yes",
    )

    @property
    def has_tokens(self) -> bool:
        """Whether a client must send a token."""
        return bool(self.auth_tokens or self.clients)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses to listen on: those of `listen`, or that of `host` and `port`."""
        return _addresses(self.listen, self.host, self.port)


def _addresses(listen: tuple[Address, ...], host: str, port: int) -> tuple[Address, ...]:
    return listen or (TcpAddress(host or None, port),)


def _check_together(check: Checker, path: Path, given: Values, values: Values) -> None:
    _check_memory(check, path, given, values)
    # By default it is systemd that may have opened another address.
    known = {key for key in ("listen", "host", "port") if given.get(key) is not None}
    if known and not any(known.intersection(finding.path[:1]) for finding in check.findings):
        _check_loops(check, path, values)


def _check_loops(check: Checker, path: Path, values: Values) -> None:
    """See that no model is llmhop itself, which could only answer 508."""
    own = _addresses(values["listen"], values["host"], values["port"])
    for name, model in values.get("models", {}).items():
        if all(any(_is_own(a, url.origin) for a in own) for url in model.urls):
            key = "urls" if model.url is None else "url"
            what = f"leads to llmhop itself, which listens on {', '.join(map(str, own))}"
            check.report((*path, "models", name, key), what, "write where the model runs")


def _is_own(address: Address, origin: Origin) -> bool:
    if isinstance(address, TcpAddress):
        return origin.socket is None and leads_to(address, origin.host, origin.port)
    return address.path == origin.socket


def _check_memory(check: Checker, path: Path, given: Values, values: Values) -> None:
    # Or a body of the largest size would be refused for ever, with the advice to try again.
    workers, limit = values["workers"], values["max_buffered_bytes"]
    needed = values["max_body_bytes"] * workers
    if given.get("maxBufferedBytes") != limit:  # not given, or refused already
        values["max_buffered_bytes"] = max(limit, needed)
    elif limit < needed:
        share = f"maxBodyBytes for each of {workers} workers" if workers > 1 else "maxBodyBytes"
        todo = f"write {needed} or more, or lower maxBodyBytes"
        check.report((*path, "maxBufferedBytes"), f"is smaller than {share}", todo)


CONFIG: Final = Table(Config, NotTogether("listen", "host", "port"), finish=_check_together)
"""The keys at the top, and below them all others."""
