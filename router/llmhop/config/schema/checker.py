"""What every check of a config is built on: types, known keys, secrets and the findings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from llmhop.config.findings import Finding
from llmhop.config.secrets import SecretError
from llmhop.log.printable import one_line

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_VALUE_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_T = TypeVar("_T")

_TYPE_NAMES: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a whole number",
}


Path = tuple[str | int, ...]
"""Where something stands in a config: keys and list indices, from the top."""

LoadTls = Callable[[str | None, str | None], Any]
"""Loads a certificate and its key from two files; raises ConfigError."""


def key_path(*keys: str | int) -> str:
    """Write the path to a config key the way Nix does: models."qwen3.6-35b".url, authTokens[0]."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
            continue
        if not _PLAIN_KEY.fullmatch(key):
            escaped = key.replace("\\", "\\\\").replace('"', '\\"')
            key = f'"{one_line(escaped)}"'
        text += f".{key}" if text else key
    return text


def encodable(text: str) -> bool:
    """Whether `text` has no lone surrogates, which JSON can write and UTF-8 can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Checker:
    """Checks values and collects findings; a method returns None where it adds one."""

    def __init__(self, resolve_secret: Callable[[str], str], load_tls: LoadTls) -> None:
        """`resolve_secret` replaces the references in a string and raises SecretError."""
        self.findings: list[Finding] = []
        self.load_tls = load_tls
        self._resolve_secret = resolve_secret

    def report(self, path: Path, what: str, todo: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(key_path(*path) or "config", what, todo, path))

    def typed(self, path: Path, value: object, kind: type[_T], todo: str) -> _T | None:
        """Check the type of a value. true and false are no numbers."""
        # bool is a subclass of int, but true is no number.
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        self.report(path, f"is not {_TYPE_NAMES[kind]}", todo)
        return None

    def members(self, path: Path, value: object, keys: Iterable[str]) -> dict[str, Any] | None:
        """Check that a value is an object with known keys; return those that are not null."""
        known = tuple(keys)
        found = self.typed(path, value, dict, f"write {{…}} with the keys {', '.join(known)}")
        if found is None:
            return None
        for key in found:
            if key not in known:
                from difflib import get_close_matches  # only where there is a typo to find

                near = get_close_matches(key, known, 1)
                todo = f"write {near[0]}" if near else f"use one of {', '.join(known)}"
                self.report((*path, key), "is not a known key", todo)
        return {key: item for key, item in found.items() if item is not None}

    def secret(self, path: Path, value: object) -> str | None:
        """Check a string that may hold references to secrets, and resolve them."""
        text = self.typed(path, value, str, "write ${file:PATH} or ${env:NAME}")
        if text is None:
            return None
        try:
            secret = self._resolve_secret(text)
        except SecretError as error:
            self.report(path, error.what, error.todo)
            return None
        if _VALUE_CONTROL.search(secret) or not encodable(secret):
            self.report(path, "holds a control character", "give it as one line of text")
            return None
        return secret
