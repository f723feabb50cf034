"""Kinds of values that are llmhop's own: addresses, URLs, tokens, headers, files, sizes."""

from __future__ import annotations

import re

from llmhop.config.backend_url import BackendUrl, parse_backend_url
from llmhop.config.listen_address import (
    Address,
    TcpAddress,
    check_host,
    check_port,
    overlap,
    parse_listen,
)
from llmhop.config.schema.checker import Checker, Path, encodable
from llmhop.config.schema.kinds import MAX_BYTES, Kind, ListOf, Schema, Text, Whole

_TEXT: Schema = {"type": "string", "pattern": r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$"}
_ADDRESS: Schema = {
    "type": "string",
    "pattern": r"^(unix:/[^\u0000-\u001f\u007f]+|[^/]*:[0-9]{1,5})$",
    "examples": ["127.0.0.1:8080", "[::1]:8080", ":8080", "unix:/run/llmhop/llmhop.sock"],
}
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MODE = r"0?[0-7]{3}"
# As the Fetch standard has browsers write it; extensions and apps have schemes of their own.
_ORIGIN = (
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>[1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}

MAX_REQUESTS = 1_000_000
"""Most requests that a limit may name."""

ANY = "*"
"""In a list of names: every name."""

# Headers that say where a message ends, or belong to one connection or one request: llmhop's own
# business.
_RESERVED_HEADERS = frozenset(
    {
        *("connection", "content-length", "expect", "keep-alive", "proxy-connection", "te"),
        *("trailer", "transfer-encoding", "upgrade", "via", "x-request-id"),
    }
)


def _name(text: str) -> str:
    if not text or not encodable(text):
        raise ValueError("is an empty or broken name")
    return text


def _host(text: str) -> str:
    return text and check_host(text)


def _url_advice(error: ValueError) -> str:
    if "password" in str(error):
        return "put credentials into headers"
    if "socket" in str(error):
        return "write e.g. unix:/run/engine.sock or unix:/run/engine.sock:/v1"
    return URL.advice


def _file(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    if "\0" in text or not encodable(text):
        raise ValueError("is no path of a file")
    return text


def _origin(text: str) -> str:
    if text == ANY:
        return text
    match = re.fullmatch(_ORIGIN, text)
    if text.lower() == "null":
        raise ValueError("is what any sandboxed page has as its origin")
    if match is None:
        raise ValueError("is not an origin as browsers send it")
    if match["port"] and match["port"] == _DEFAULT_PORTS.get(match["scheme"]):
        raise ValueError("has the port that browsers leave out")
    return text


def _allowed_host(text: str) -> str:
    if text == ANY:
        return text
    if not text or ":" in text:
        raise ValueError("is not a host name alone")
    return check_host(text)


NAME = Text(
    _name, "write a name that clients ask for", lambda _error: "name it as clients do", minLength=1
)
"""A name that is not empty and can be sent."""

HOST = Text(_host, "write e.g. 127.0.0.1", lambda _error: "write e.g. 127.0.0.1 or ::1")
"""A host name or an IP address to listen on; empty for every interface."""

URL = Text(
    parse_backend_url,
    "write e.g. http://127.0.0.1:8000",
    _url_advice,
    pattern=r"^([Hh][Tt][Tt][Pp][Ss]?://[!-~]+|unix:/[!-~]+)$",
    examples=["http://127.0.0.1:8000", "https://api.openai.com", "unix:/run/engine.sock"],
)
"""Where a backend is."""

ORIGIN = Text(
    _origin,
    'write scheme, host in lower case and perhaps a port, e.g. "https://app.example", or "*"',
    pattern=rf"^(\*|{_ORIGIN.replace('?P<scheme>', '').replace('?P<port>', '')})$",
    examples=["https://app.example", "http://localhost:3000", "*"],
)
"""The origin of web pages, or any."""

ALLOWED_HOST = Text(
    _allowed_host,
    'write e.g. "llm.example", without scheme and port, or "*"',
    minLength=1,
    pattern="^[^:/]+$",
)
"""A name that clients may have for this host, or any."""

FILE = Text(_file, "write the path of a PEM file", minLength=1)
"""The path of a PEM file."""


class Mode(Text[int]):
    """An access mode, written in octal."""

    def __init__(self) -> None:
        super().__init__(_mode, 'write it in octal, e.g. "0660"', pattern=f"^{_MODE}$")

    def written(self, value: int) -> str:
        return f"{value:04o}"


def _mode(text: str) -> int:
    if not re.fullmatch(_MODE, text):
        raise ValueError("is not an access mode")
    return int(text, 8)


class Listen(Kind[tuple[Address, ...]]):
    """An address to listen on, or a list of several."""

    advice = (
        'write e.g. "127.0.0.1:8080", "[::1]:8080", ":8080" for every interface, '
        'or "unix:/run/llmhop/llmhop.sock"'
    )
    schema: Schema = {"anyOf": [_ADDRESS, {"type": "array", "minItems": 1, "items": _ADDRESS}]}

    def read(self, check: Checker, path: Path, value: object) -> tuple[Address, ...] | None:
        if not isinstance(value, list):
            address = self._address(check, path, value, "is not a string or a list of strings")
            return None if address is None else (address,)
        if not value:
            check.report(path, "is an empty list", self.advice)
        found: list[Address] = []
        for index, text in enumerate(value):
            at = (*path, index)
            address = self._address(check, at, text, "is not a string")
            # Port 0 stands for another port each time.
            if address in found and getattr(address, "port", None) != 0:
                check.report(at, "is listed twice", "remove it")
            elif address is not None:
                for other in found:
                    if (
                        isinstance(address, TcpAddress)
                        and isinstance(other, TcpAddress)
                        and overlap(address, other)
                    ):
                        what = f"{other} and {address} are one address to the kernel"
                        check.report(at, what, "remove one of the two")
                found.append(address)
        return tuple(found)

    def _address(self, check: Checker, path: Path, value: object, not_text: str) -> Address | None:
        if not isinstance(value, str):
            check.report(path, not_text, self.advice)
            return None
        try:
            return parse_listen(value)
        except ValueError as error:
            check.report(path, str(error), self.advice)
            return None


class Port(Kind[int]):
    """A port to listen on; 0 lets the kernel choose."""

    advice = "write e.g. 8080"
    schema: Schema = {"type": "integer", "minimum": 0, "maximum": 65535}

    def read(self, check: Checker, path: Path, value: object) -> int | None:
        port = check.typed(path, value, int, self.advice)
        try:
            return None if port is None else check_port(str(port))
        except ValueError as error:
            check.report(path, str(error), self.advice)
            return None


class Token(Kind[str]):
    """A secret that clients send."""

    advice = "write ${file:PATH} or ${env:NAME}"
    schema: Schema = {**_TEXT, "minLength": 1}
    is_secret = True

    def read(self, check: Checker, path: Path, value: object) -> str | None:
        token = check.secret(path, value)
        if token is None or (token and token.strip() == token):
            return token
        if token:
            check.report(path, "starts or ends with white space", "remove it")
        else:
            check.report(path, "is empty", self.advice)
        return None


class Headers(Kind[tuple[tuple[str, str], ...]]):
    """Header fields by name, whose values may be secrets."""

    advice = 'write {"NAME": "VALUE"}'
    schema: Schema = {
        "type": "object",
        "propertyNames": {"pattern": f"^{_HEADER_NAME}$"},
        "additionalProperties": _TEXT,
    }
    is_secret = True

    def read(self, check: Checker, path: Path, value: object) -> tuple[tuple[str, str], ...] | None:
        headers: dict[str, tuple[str, str]] = {}
        for name, raw in (check.typed(path, value, dict, self.advice) or {}).items():
            at = (*path, name)
            if not re.fullmatch(_HEADER_NAME, name):
                check.report(at, "is not a header name", "use letters, digits and dashes")
            elif name.lower() in _RESERVED_HEADERS:
                check.report(at, "is set by llmhop itself", "remove it")
            elif name.lower() in headers:
                check.report(at, "is given twice in different case", "keep one")
            secret = check.secret(at, raw)
            if secret is not None:
                headers[name.lower()] = (name, secret.strip(" \t"))
        return tuple(headers.values())


class BackendUrls(ListOf[BackendUrl]):
    """The replicas of a model."""

    def identity(self, value: BackendUrl) -> object:
        """Where requests go to, and whether under another name."""
        return value.identity


class Aliases(ListOf[str]):
    """Other names of a model. That each name is unique is checked for all models together."""

    def refuse_repeated(self, check: Checker, path: Path) -> None:
        pass


class BodySize(Whole):
    """A size of bodies in bytes, or 0 for a default."""

    def __init__(self, default: int) -> None:
        super().__init__(0, MAX_BYTES)
        self.default = default
        self.advice = f"write a number of bytes up to {MAX_BYTES}, or 0 for the default"
        self.schema = {"type": "integer", "minimum": 0, "exclusiveMaximum": MAX_BYTES + 1}

    def read(self, check: Checker, path: Path, value: object) -> int | None:
        size = super().read(check, path, value)
        return self.default if size == 0 else size
