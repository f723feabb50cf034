"""The table of a model in the configuration, and the names of all models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from llmhop.config.backend_url import BackendUrl
from llmhop.config.schema.checker import Checker, Path, key_path
from llmhop.config.schema.kinds import Boolean, ListOf, Named, Seconds, Whole
from llmhop.config.schema.table import OneOf, Table, Values, setting
from llmhop.config.tables.control_paths import CONTROL_PATH
from llmhop.config.values import MAX_REQUESTS, NAME, URL, Aliases, BackendUrls, Headers
from llmhop.limits import CONNECT_TIMEOUT_S, MAX_REPLICAS, UPSTREAM_IDLE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model: where it runs, and how requests to it are changed. Times are in seconds.

    `urls` are its replicas, one at least, also where there is but the one of `url`; they hold the
    timeouts of their connections.
    """

    url: BackendUrl | None = setting(
        URL,
        None,
        "Where the model runs: http or https, or unix:/path of a socket; a path "
        "in the URL (unix:/path:/prefix) comes before the request's; /v1 at its end is the one "
        "that requests have. One of another llmhop ends in "
        "/route/NAME, with the name of this model.",
    )
    urls: tuple[BackendUrl, ...] = setting(
        BackendUrls(
            URL, 'write ["http://127.0.0.1:8000"]', least=1, most=MAX_REPLICAS, unique=True
        ),
        (),
        "In place of url: several backends that serve the same model. Each request "
        "goes to the one with the fewest requests in flight.",
    )
    headers: tuple[tuple[str, str], ...] = setting(
        Headers(),
        (),
        "Headers that replace the client's. Secrets: ${env:NAME} or ${file:PATH}.",
    )
    aliases: tuple[str, ...] = setting(
        Aliases(NAME, 'write ["NAME"]', unique=True),
        (),
        "Other names for this model, and patterns of them, in which * stands for any characters "
        "(claude-*). The backend gets the model's own name.",
    )
    unlisted: bool = setting(
        Boolean(),
        False,
        "Leave the model out of the list at /v1/models; requests find it all the same.",
    )
    connect_timeout: float = setting(
        Seconds(),
        CONNECT_TIMEOUT_S,
        "Timeout for connecting to the backend, TLS included, in seconds.",
    )
    idle_timeout: float = setting(
        Seconds(),
        UPSTREAM_IDLE_S,
        "Timeout of an unused connection to the backend, in seconds. Shorter than the backend's "
        "own; uvicorn, and so vLLM, closes after 5.",
    )
    # A long prompt on a busy engine takes minutes; OpenAI's own clients wait for 600 s.
    response_timeout: float = setting(
        Seconds(), 600.0, "Timeout for the head of a response, in seconds; then 504."
    )
    read_timeout: float = setting(
        Seconds(),
        600.0,
        "Timeout between two pieces of a response, in seconds; then it is broken off.",
    )
    retries: int = setting(
        Whole(0, 10),
        0,
        "How often a request is sent again whose backend broke off before the "
        "response began. The backend may have worked on it, so a request may take effect twice. "
        "Trying the next of urls where one can't be reached is no retry.",
    )
    max_concurrent: int | None = setting(
        Whole(1, MAX_REQUESTS),
        None,
        "Most concurrent requests, over all urls and all workers; more wait, first "
        "in, first out. Without it there is no limit.",
    )
    max_queued: int = setting(
        Whole(0, MAX_REQUESTS),
        100,
        "Most requests in the queue where maxConcurrent is reached, of all workers "
        "together; more are refused with 429.",
    )
    queue_timeout: float = setting(
        Seconds(),
        60.0,
        "Timeout in the queue for a place among maxConcurrent, in seconds; then 503.",
    )
    paths: tuple[str, ...] = setting(
        ListOf(CONTROL_PATH, 'write ["/sleep", "/wake_up"]', unique=True),
        (),
        "Control paths of the engine that every client of this model may use. All others of them "
        'are refused with 403, unless a client has them in its own paths; "*" for all.',
    )
    resolve: float | None = setting(
        Seconds(),
        None,
        "Look up the addresses of the urls' host names every so many seconds, and "
        "take each address as a backend of its own. Without it a name is one backend.",
    )


class Models(Named[ModelConfig]):
    """The models by name. An alias is a name too, and none has two owners."""

    def read(self, check: Checker, path: Path, value: object) -> dict[str, ModelConfig] | None:
        """Read every model, and see that no name has two owners."""
        found = super().read(check, path, value)
        # Over what is written, also where another part of a model is wrong.
        models = value if isinstance(value, dict) else {}
        owner = {name: name for name in models}
        for name, entry in models.items():
            aliases = entry.get("aliases") if isinstance(entry, dict) else None
            for index, alias in enumerate(aliases if isinstance(aliases, list) else []):
                if not isinstance(alias, str):
                    continue
                if alias in owner:
                    what = f"is a name of the model {key_path(owner[alias])} already"
                    check.report((*path, name, "aliases", index), what, "remove or rename it")
                owner.setdefault(alias, name)
        return found


def _complete_urls(_check: Checker, _path: Path, _given: Values, values: Values) -> None:
    times = values["connect_timeout"], values["idle_timeout"]
    urls = values["urls"] or (() if values["url"] is None else (values["url"],))
    values["urls"] = tuple(url.with_timeouts(*times) for url in urls)


MODEL: Final = Table(ModelConfig, OneOf("url", "urls"), finish=_complete_urls)
"""The keys of a model."""
