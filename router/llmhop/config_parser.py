"""The shape of the config and its defaults, in one check that finds every problem at once.

The keys are those of upstream llmhop, so that either program runs on either config. As there, a
null stands for a key that is not given, and a `maxBodyBytes` of 0 for the default. Three
differences: `host` and `port` may stand for `listen`; unknown keys are errors; and without
`listen` the router binds 127.0.0.1:8080, where upstream binds port 8080 of every interface,
because a port without authentication must not open to the network by default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from llmhop.config import Config, ModelConfig
from llmhop.errors import ConfigError, Problem
from llmhop.limits import DEFAULT_MAX_BODY_BYTES
from llmhop.secrets import SecretError
from llmhop.urls import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    Listen,
    check_host,
    check_port,
    parse_backend_url,
    parse_listen,
)

_TOP_KEYS = ("listen", "host", "port", "models", "authTokens", "maxBodyBytes")
_MODEL_KEYS = ("url", "headers")

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VALUE_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# Headers that say where a message ends or belong to one connection: llmhop's own business.
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
    }
)

_URL_TODO = "write e.g. http://127.0.0.1:8000"
_LISTEN_TODO = 'write e.g. "127.0.0.1:8080", "[::1]:8080", or ":8080" for every interface'

_T = TypeVar("_T")

_TYPE_NAMES: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a whole number",
}


def key_path(*keys: str | int) -> str:
    """Write the path to a config key the way Nix does: models."qwen3.6-35b".url, authTokens[0]."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
            continue
        if not _PLAIN_KEY.fullmatch(key):
            escaped = key.replace("\\", "\\\\").replace('"', '\\"')
            key = '"' + _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", escaped) + '"'
            key = key.encode("utf-8", "backslashreplace").decode()
        text += f".{key}" if text else key
    return text


def parse(data: object, resolve_secret: Callable[[str], str]) -> Config:
    """Check the JSON value of a config file and return the config.

    `resolve_secret` replaces the references in a string and raises SecretError. Raises
    ConfigError with every problem found.
    """
    checker = _Checker(resolve_secret)
    config = checker.config(data)
    if checker.problems or config is None:
        raise ConfigError(checker.problems)
    return config


class _Checker:
    """Walks a config and collects problems; a method returns None where it found one."""

    def __init__(self, resolve_secret: Callable[[str], str]) -> None:
        self.problems: list[Problem] = []
        self._resolve_secret = resolve_secret

    def _problem(self, where: str, what: str, todo: str) -> None:
        self.problems.append(Problem(where, what, todo))

    def _typed(self, where: str, value: object, kind: type[_T], todo: str) -> _T | None:
        # bool is a subclass of int, but true is no number.
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        self._problem(where, f"is not {_TYPE_NAMES[kind]}", todo)
        return None

    def _object(
        self, value: object, keys: tuple[str, ...], path: tuple[str, ...]
    ) -> dict[str, Any] | None:
        where = key_path(*path) or "config"
        found = self._typed(where, value, dict, f"write {{…}} with the keys {', '.join(keys)}")
        if found is None:
            return None
        for key in found:
            if key not in keys:
                from difflib import get_close_matches  # only for who has a typo to find

                near = get_close_matches(key, keys, 1)
                todo = f"write {near[0]}" if near else f"use one of {', '.join(keys)}"
                self._problem(key_path(*path, key), "is not a known key", todo)
        return {key: item for key, item in found.items() if item is not None}

    def config(self, data: object) -> Config | None:
        top = self._object(data, _TOP_KEYS, ())
        if top is None:
            return None
        listen = self._listen(top)
        models = self._models(top.get("models"))
        tokens = self._tokens(top.get("authTokens", []))
        limit = self._typed(
            "maxBodyBytes", top.get("maxBodyBytes", 0), int, "write a number of bytes"
        )
        if limit is not None and not 0 <= limit < 2**63:
            self._problem("maxBodyBytes", "is out of range", "write a positive number of bytes")
        return Config(
            listen=listen,
            models=MappingProxyType(models),
            auth_tokens=tokens,
            max_body_bytes=limit or DEFAULT_MAX_BODY_BYTES,
        )

    def _listen(self, top: dict[str, Any]) -> Listen:
        default = Listen(DEFAULT_HOST, DEFAULT_PORT)
        if "listen" in top:
            if "host" in top or "port" in top:
                self._problem(
                    "listen", "is given together with host or port", "keep one of the two"
                )
            text = self._typed("listen", top["listen"], str, _LISTEN_TODO)
            try:
                return parse_listen(text) if text is not None else default
            except ValueError as error:
                self._problem("listen", str(error), _LISTEN_TODO)
                return default
        host = self._typed("host", top.get("host", DEFAULT_HOST), str, "write e.g. 127.0.0.1")
        port = self._typed("port", top.get("port", DEFAULT_PORT), int, "write e.g. 8080")
        try:
            if host:
                check_host(host)
        except ValueError as error:
            self._problem("host", str(error), "write e.g. 127.0.0.1 or ::1")
        try:
            if port is not None:
                check_port(str(port))
        except ValueError as error:
            self._problem("port", str(error), "write e.g. 8080")
        return Listen(host or None, port or 0)

    def _models(self, value: object) -> dict[str, ModelConfig]:
        todo = 'write {"NAME": {"url": "http://127.0.0.1:8000"}}'
        if value is None or value == {}:
            self._problem("models", "has no model", todo)
            return {}
        models: dict[str, ModelConfig] = {}
        for name, entry in (self._typed("models", value, dict, todo) or {}).items():
            if not name or not _encodable(name):
                self._problem(
                    key_path("models", name), "has an empty or broken name", "name it as clients do"
                )
            model = self._model(name, entry)
            if model is not None:
                models[name] = model
        return models

    def _model(self, name: str, value: object) -> ModelConfig | None:
        entry = self._object(value, _MODEL_KEYS, ("models", name))
        if entry is None:
            return None
        headers = self._headers(name, entry.get("headers", {}))
        where = key_path("models", name, "url")
        if "url" not in entry:
            self._problem(where, "is missing", _URL_TODO)
            return None
        text = self._typed(where, entry["url"], str, _URL_TODO)
        try:
            return ModelConfig(parse_backend_url(text), headers) if text is not None else None
        except ValueError as error:
            todo = _URL_TODO
            if "password" in str(error):
                todo = "put credentials into headers"
            self._problem(where, str(error), todo)
            return None

    def _headers(self, name: str, value: object) -> tuple[tuple[str, str], ...]:
        todo = 'write {"NAME": "VALUE"}'
        found = self._typed(key_path("models", name, "headers"), value, dict, todo)
        headers: dict[str, tuple[str, str]] = {}
        for header, raw in (found or {}).items():
            where = key_path("models", name, "headers", header)
            if not _HEADER_NAME.fullmatch(header):
                self._problem(where, "is not a header name", "use letters, digits and dashes")
            elif header.lower() in _RESERVED_HEADERS:
                self._problem(where, "is set by llmhop itself", "remove it")
            elif header.lower() in headers:
                self._problem(where, "is given twice in different case", "keep one")
            secret = self._secret(where, raw)
            if secret is not None:
                headers[header.lower()] = (header, secret.strip(" \t"))
        return tuple(headers.values())

    def _tokens(self, value: object) -> tuple[str, ...]:
        todo = 'write ["${file:PATH}"], or remove it to ask for no token'
        found = self._typed("authTokens", value, list, todo)
        tokens = []
        for index, raw in enumerate(found or []):
            where = key_path("authTokens", index)
            token = self._secret(where, raw)
            if token is not None and token.strip() != token:
                self._problem(where, "starts or ends with white space", "remove it")
            elif token == "":
                self._problem(where, "is empty", "write ${file:PATH} or ${env:NAME}")
            elif token is not None:
                tokens.append(token)
        return tuple(tokens)

    def _secret(self, where: str, value: object) -> str | None:
        text = self._typed(where, value, str, "write ${file:PATH} or ${env:NAME}")
        if text is None:
            return None
        try:
            secret = self._resolve_secret(text)
        except SecretError as error:
            self._problem(where, error.what, error.todo)
            return None
        if _VALUE_CONTROL.search(secret) or not _encodable(secret):
            self._problem(where, "holds a control character", "give it as one line of text")
            return None
        return secret


def _encodable(text: str) -> bool:
    """Whether `text` has no lone surrogates, which JSON can write and UTF-8 can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
