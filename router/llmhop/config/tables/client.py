"""The table of a client in the configuration: its tokens, and what it may do with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from llmhop.config.findings import Finding
from llmhop.config.schema.checker import Checker, Path, key_path
from llmhop.config.schema.kinds import ListOf, Named, Whole
from llmhop.config.schema.table import OneOf, Table, Values, setting
from llmhop.config.tables.control_paths import CLIENT_PATH
from llmhop.config.values import MAX_REQUESTS, NAME, Token

MAX_TOKENS: Final = 10**12
"""Most tokens that a limit may name."""

MAX_CLIENTS: Final = 1024
"""Most clients with a name, each of which has numbers of its own among the metrics."""

_CLIENT_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """A client with a name. `tokens` are its keys, one at least, also where there is but `token`.

    `models` is None where it may use them all.
    """

    token: str | None = setting(
        Token(),
        None,
        "The bearer token that the client sends. Secrets: ${env:NAME} or ${file:PATH}.",
    )
    tokens: tuple[str, ...] = setting(
        ListOf(Token(), 'write ["${file:PATH}"]', least=1),
        (),
        "In place of token: several, any of which counts, so that one can take another's place.",
    )
    models: tuple[str, ...] | None = setting(
        ListOf(NAME, 'write ["NAME"]', unique=True),
        None,
        "The models that the client may use, by their own names; others are refused with 403 and "
        "are not in its list at /v1/models. Without it: all.",
    )
    paths: tuple[str, ...] = setting(
        ListOf(CLIENT_PATH, 'write ["/sleep", "/wake_up"]', unique=True),
        (),
        "Control paths of its models that the client may use beside those that each model opens, "
        'and "/metrics", llmhop\'s own metrics, which tell of all clients; "*" for all.',
    )
    max_concurrent: int | None = setting(
        Whole(1, MAX_REQUESTS),
        None,
        "Most requests of the client at once, over all models and workers, those in queues "
        "included; more are refused with 429.",
    )
    requests_per_minute: int | None = setting(
        Whole(1, MAX_REQUESTS),
        None,
        "Most requests of the client in a minute, over all models and workers; more are refused "
        "with 429.",
    )
    tokens_per_minute: int | None = setting(
        Whole(1, MAX_TOKENS),
        None,
        "Most tokens of the client in a minute, of prompts and completions, over all models and "
        "workers, as far as responses report their usage. A request that comes once they are used "
        "up is refused with 429.",
    )

    @property
    def is_limited(self) -> bool:
        """Whether what the client uses has to be counted."""
        limits = self.max_concurrent, self.requests_per_minute, self.tokens_per_minute
        return any(limit is not None for limit in limits)


def _complete_tokens(_check: Checker, _path: Path, _given: Values, values: Values) -> None:
    if values["token"] is not None:
        values["tokens"] = (values["token"],)


def repeated_tokens(
    auth_tokens: tuple[str, ...], clients: Mapping[str, ClientConfig]
) -> Iterator[Finding]:
    """Find tokens that more than one have, so that nobody knows who sends them.

    Only where they were read: what stands for them in a check without secrets is alike.
    """
    owners = dict.fromkeys(auth_tokens, "authTokens")
    for name, client in clients.items():
        at = ("clients", name)
        for index, token in enumerate(client.tokens):
            path = (*at, "tokens", index) if client.token is None else (*at, "token")
            owner = owners.setdefault(token, key_path(*path))
            if owner != key_path(*path):
                what = f"is the token of {owner} too"
                yield Finding(key_path(*path), what, "give each its own", path)


class Clients(Named[ClientConfig]):
    """The clients by name."""

    def __init__(self) -> None:
        table = Table(ClientConfig, OneOf("token", "tokens"), finish=_complete_tokens)
        super().__init__("client", table, 'write {"NAME": {"token": "${file:PATH}"}}')
        self.schema = {
            **self.schema,
            "maxProperties": MAX_CLIENTS,
            "propertyNames": {"pattern": f"^{_CLIENT_NAME.pattern}$"},
        }

    def read(self, check: Checker, path: Path, value: object) -> dict[str, ClientConfig] | None:
        """Read every client, and check its name."""
        found = super().read(check, path, value)
        for name in value if isinstance(value, dict) else ():
            if name and not _CLIENT_NAME.fullmatch(name):
                todo = "write up to 64 letters, digits and any of . _ @ -"
                check.report((*path, name), "is no name that logs and metrics can have", todo)
        if found is not None and len(found) > MAX_CLIENTS:
            check.report(path, "has too many clients", f"write up to {MAX_CLIENTS}")
        return found
