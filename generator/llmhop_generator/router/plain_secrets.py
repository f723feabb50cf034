"""Secrets of llmhop that stand in its settings as they are, where a reference could stand.

The NixOS module warns of the same (module/assertions/router-secrets.nix).
"""

import re
from collections.abc import Iterator

from llmhop_generator.contract.json_types import as_object
from llmhop_generator.contract.options import Llmhop
from llmhop_generator.errors import Finding, Path

# `$name` in lower case is more likely the rest of a secret with a dollar sign.
_REFERENCE = re.compile(r"\$\{|\$[A-Z_][A-Z0-9_]*(?![A-Za-z0-9_])")
# What servers take for a login (RFC 9110, and names of APIs such as X-Api-Key).
_LOGIN = re.compile("authorization|cookie|key|password|secret|token", re.IGNORECASE)
_LOGIN_VALUE = re.compile("(basic|bearer) .", re.IGNORECASE)
_WAY_OUT = (
    'in plain text, for everybody who sees this configuration; write "${file:NAME}" with a '
    'credential of llmhop.service (LoadCredential=), or "${env:NAME}"'
)


def plain_secrets(llmhop: Llmhop) -> Iterator[Finding]:
    """Find tokens and logins that are written out; no value is in what is said of them."""
    for path, header, text in _texts(llmhop):
        is_login = header is None or _LOGIN.search(header) or _LOGIN_VALUE.match(text)
        if text and is_login and _REFERENCE.search(text) is None:
            what = "holds a token" if header is None else "looks like a secret"
            yield Finding.at(("llmhop", "settings", *path), f"{what} {_WAY_OUT}")


def _texts(llmhop: Llmhop) -> Iterator[tuple[Path, str | None, str]]:
    """The texts that may refer to secrets: the place of each, and the header that it is of."""
    settings = llmhop.settings.model_dump(by_alias=True)
    for index, token in enumerate(settings["authTokens"] or []):
        yield ("authTokens", index), None, token
    for name, client in as_object(settings.get("clients")).items():
        own = as_object(client)
        if isinstance(own.get("token"), str):
            yield ("clients", name, "token"), None, own["token"]
        tokens = own.get("tokens")
        for index, token in enumerate(tokens if isinstance(tokens, list) else []):
            if isinstance(token, str):
                yield ("clients", name, "tokens", index), None, token
    for name, entry in as_object(settings["models"]).items():
        for header, value in as_object(as_object(entry).get("headers")).items():
            yield ("models", name, "headers", header), header, value
