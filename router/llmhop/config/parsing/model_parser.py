"""The `models` of a config: their backends, headers and names."""

from __future__ import annotations

import re
from typing import Any

from llmhop.config.backend_url import BackendUrl, parse_backend_url
from llmhop.config.config import BackendConfig, ModelConfig
from llmhop.config.parsing.checker import Checker, Path, encodable, key_path
from llmhop.config.parsing.schema import MODEL_KEYS
from llmhop.limits import (
    CONNECT_TIMEOUT_S,
    DEFAULT_MAX_QUEUED,
    MAX_REPLICAS,
    MAX_REQUESTS,
    MAX_RETRIES,
    QUEUE_TIMEOUT_S,
    READ_TIMEOUT_S,
    RESPONSE_TIMEOUT_S,
    UPSTREAM_IDLE_S,
)

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# Headers that say where a message ends, or belong to one connection or one request: llmhop's own
# business.
_RESERVED_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-request-id",
    }
)

_URL_ADVICE = "write e.g. http://127.0.0.1:8000"


def parse_models(check: Checker, value: object) -> dict[str, ModelConfig]:
    """Check the models and return the good ones; problems stay with `check`."""
    todo = 'write {"NAME": {"url": "http://127.0.0.1:8000"}}'
    if value is None or value == {}:
        check.problem(("models",), "has no model", todo)
        return {}
    given = check.typed(("models",), value, dict, todo) or {}
    models: dict[str, ModelConfig] = {}
    for name, entry in given.items():
        if not name or not encodable(name):
            check.problem(("models", name), "has an empty or broken name", "name it as clients do")
        model = _model(check, name, entry)
        if model is not None:
            models[name] = model
    _check_aliases(check, given)
    return models


def _model(check: Checker, name: str, value: object) -> ModelConfig | None:
    entry = check.members(value, MODEL_KEYS, ("models", name))
    if entry is None:
        return None
    headers = _headers(check, name, entry["headers"]) if "headers" in entry else ()
    aliases = _aliases(check, name, entry["aliases"]) if "aliases" in entry else ()
    unlisted = "unlisted" in entry and check.boolean(
        ("models", name, "unlisted"), entry["unlisted"]
    )
    urls = _urls(check, name, entry)
    connect = _seconds(check, name, entry, "connectTimeout", CONNECT_TIMEOUT_S)
    idle = _seconds(check, name, entry, "idleTimeout", UPSTREAM_IDLE_S)
    backend = BackendConfig(
        urls=tuple(
            url._replace(origin=url.origin._replace(connect_timeout=connect, idle_timeout=idle))
            for url in urls
        ),
        response_timeout=_seconds(check, name, entry, "responseTimeout", RESPONSE_TIMEOUT_S),
        read_timeout=_seconds(check, name, entry, "readTimeout", READ_TIMEOUT_S),
        retries=_count(check, name, entry, "retries", 0, MAX_RETRIES) or 0,
        max_concurrent=_count(check, name, entry, "maxConcurrent", 1, MAX_REQUESTS),
        max_queued=_max_queued(check, name, entry),
        queue_timeout=_seconds(check, name, entry, "queueTimeout", QUEUE_TIMEOUT_S),
        resolve=_seconds(check, name, entry, "resolve", 0) or None,
    )
    return ModelConfig(backend, headers, aliases, bool(unlisted)) if urls else None


def _max_queued(check: Checker, name: str, entry: dict[str, Any]) -> int:
    given = _count(check, name, entry, "maxQueued", 0, MAX_REQUESTS)
    return DEFAULT_MAX_QUEUED if given is None else given


def _count(
    check: Checker, name: str, entry: dict[str, Any], key: str, least: int, most: int
) -> int | None:
    if key not in entry:
        return None
    path, todo = ("models", name, key), f"write a number from {least} to {most}"
    count = check.typed(path, entry[key], int, todo)
    if count is not None and not least <= count <= most:
        check.problem(path, "is out of range", todo)
    return count


def _seconds(check: Checker, name: str, entry: dict[str, Any], key: str, default: float) -> float:
    # Not even its path is written where there is nothing to check: of many models, few have one.
    if key not in entry:
        return default
    return check.seconds(("models", name, key), entry[key]) or default


def _urls(check: Checker, name: str, entry: dict[str, Any]) -> list[BackendUrl]:
    path = ("models", name, "url")
    if "url" not in entry and "urls" not in entry:
        check.problem(path, "is missing", _URL_ADVICE)
        return []
    if "urls" not in entry:
        url = _url(check, path, entry["url"])
        return [] if url is None else [url]
    if "url" in entry:
        check.problem(path, "is given together with urls", "keep one of the two")
    path, todo = ("models", name, "urls"), 'write ["http://127.0.0.1:8000"]'
    given = check.typed(path, entry["urls"], list, todo)
    if given == []:
        check.problem(path, "is an empty list", todo)
    elif given is not None and len(given) > MAX_REPLICAS:
        check.problem(path, "is too long", f"write up to {MAX_REPLICAS} urls")
    found: list[BackendUrl] = []
    for index, text in enumerate(given or []):
        at = (*path, index)
        url = _url(check, at, text)
        if url in found:
            check.problem(at, "is listed twice", "remove it")
        elif url is not None:
            found.append(url)
    return found


def _url(check: Checker, path: Path, value: object) -> BackendUrl | None:
    text = check.typed(path, value, str, _URL_ADVICE)
    try:
        return parse_backend_url(text) if text is not None else None
    except ValueError as error:
        todo = _URL_ADVICE
        if "password" in str(error):
            todo = "put credentials into headers"
        elif "socket" in str(error):
            todo = "write e.g. unix:/run/engine.sock or unix:/run/engine.sock:/v1"
        check.problem(path, str(error), todo)
        return None


def _headers(check: Checker, name: str, value: object) -> tuple[tuple[str, str], ...]:
    todo = 'write {"NAME": "VALUE"}'
    found = check.typed(("models", name, "headers"), value, dict, todo)
    headers: dict[str, tuple[str, str]] = {}
    for header, raw in (found or {}).items():
        path = ("models", name, "headers", header)
        if not _HEADER_NAME.fullmatch(header):
            check.problem(path, "is not a header name", "use letters, digits and dashes")
        elif header.lower() in _RESERVED_HEADERS:
            check.problem(path, "is set by llmhop itself", "remove it")
        elif header.lower() in headers:
            check.problem(path, "is given twice in different case", "keep one")
        secret = check.secret(path, raw)
        if secret is not None:
            headers[header.lower()] = (header, secret.strip(" \t"))
    return tuple(headers.values())


def _aliases(check: Checker, name: str, value: object) -> tuple[str, ...]:
    todo = 'write ["NAME"]'
    aliases = []
    for index, alias in enumerate(
        check.typed(("models", name, "aliases"), value, list, todo) or []
    ):
        path = ("models", name, "aliases", index)
        text = check.typed(path, alias, str, "write a name that clients ask for")
        if text is not None and (not text or not encodable(text)):
            check.problem(path, "is an empty or broken name", "name it as clients do")
        elif text is not None:
            aliases.append(text)
    return tuple(aliases)


def _check_aliases(check: Checker, models: dict[str, Any]) -> None:
    # Over what is written, also where another part of a model is wrong.
    owner = {name: name for name in models}
    for name, entry in models.items():
        aliases = entry.get("aliases") if isinstance(entry, dict) else None
        for index, alias in enumerate(aliases if isinstance(aliases, list) else []):
            if not isinstance(alias, str):
                continue
            path = ("models", name, "aliases", index)
            if alias in owner:
                what = f"is a name of the model {key_path(owner[alias])} already"
                check.problem(path, what, "remove or rename it")
            owner.setdefault(alias, name)
