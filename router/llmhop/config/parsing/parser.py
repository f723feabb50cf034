"""The shape of the config and its defaults, in one check that finds every problem at once.

The keys are those of upstream llmhop and more, so that this program runs on any config of
upstream's. As there, a null stands for a key that is not given, and a `maxBodyBytes` of 0 for the
default. Three differences: `host` and `port` may stand for `listen`; unknown keys are errors; and
without `listen` the router binds 127.0.0.1:8080, where upstream binds port 8080 of every
interface, because a port without authentication must not open to the network by default.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast, get_args

from llmhop.config.config import AccessLogFormat, Certificate, Config
from llmhop.config.listen_address import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    Address,
    TcpAddress,
    check_host,
    check_port,
    overlap,
    parse_listen,
)
from llmhop.config.parsing.checker import Checker, Path, encodable
from llmhop.config.parsing.model_parser import parse_models
from llmhop.config.parsing.schema import TLS_KEYS, TOP_KEYS
from llmhop.errors import ConfigError
from llmhop.limits import (
    DEFAULT_DRAIN_S,
    DEFAULT_MAX_BODY_BYTES,
    DEFAULT_MAX_BUFFERED_BYTES,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MIN_UPLOAD_RATE,
    MAX_BYTES,
    MAX_REQUESTS,
    MAX_WORKERS,
)

LoadTls = Callable[[str | None, str | None], Certificate | None]
"""Loads certificate and key from two files; raises ConfigError."""

_LISTEN_ADVICE = (
    'write e.g. "127.0.0.1:8080", "[::1]:8080", ":8080" for every interface, '
    'or "unix:/run/llmhop/llmhop.sock"'
)
_MODE = re.compile(r"0?[0-7]{3}")


def parse(data: object, resolve_secret: Callable[[str], str], load_tls: LoadTls) -> Config:
    """Check the JSON value of a config file and return the config.

    `resolve_secret` replaces the references in a string and raises SecretError. Raises
    ConfigError with every problem found.
    """
    check = Checker(resolve_secret)
    top = check.members(data, TOP_KEYS, ())
    if top is None:
        raise ConfigError(check.problems)
    max_body_bytes = _max_body_bytes(check, top.get("maxBodyBytes", 0))
    workers = _count(check, top, "workers", 1, MAX_WORKERS, 1)
    config = Config(
        listen=_listen(check, top),
        socket_mode=_socket_mode(check, top.get("socketMode", "0660")),
        tls=_tls(check, top["tls"], load_tls) if "tls" in top else None,
        models=parse_models(check, top.get("models")),
        auth_tokens=_tokens(check, top.get("authTokens", [])),
        max_body_bytes=max_body_bytes,
        max_buffered_bytes=_max_buffered_bytes(check, top, max_body_bytes, workers),
        max_connections=_count(
            check, top, "maxConnections", 1, MAX_REQUESTS, DEFAULT_MAX_CONNECTIONS
        ),
        min_upload_rate=_count(check, top, "minUploadRate", 0, MAX_BYTES, DEFAULT_MIN_UPLOAD_RATE),
        drain_timeout=_drain_timeout(check, top),
        workers=workers,
        access_log=_access_log(check, top.get("accessLog", "text")),
    )
    if check.problems:
        raise ConfigError(check.problems)
    return config


def _listen(check: Checker, top: dict[str, Any]) -> tuple[Address, ...]:
    if "listen" not in top:
        return (_host_and_port(check, top),)
    if "host" in top or "port" in top:
        check.problem(("listen",), "is given together with host or port", "keep one of the two")
    value = top["listen"]
    if not isinstance(value, list):
        address = _address(check, ("listen",), value, "is not a string or a list of strings")
        return (address,) if address is not None else ()
    if not value:
        check.problem(("listen",), "is an empty list", _LISTEN_ADVICE)
    found: list[Address] = []
    for index, text in enumerate(value):
        path = ("listen", index)
        address = _address(check, path, text, "is not a string")
        # Port 0 stands for another port each time.
        if address in found and getattr(address, "port", None) != 0:
            check.problem(path, "is listed twice", "remove it")
        elif address is not None:
            for other in found:
                if (
                    isinstance(address, TcpAddress)
                    and isinstance(other, TcpAddress)
                    and overlap(address, other)
                ):
                    what = f"{other} and {address} are one address to the kernel"
                    check.problem(path, what, "remove one of the two")
            found.append(address)
    return tuple(found)


def _address(check: Checker, path: Path, value: object, not_text: str) -> Address | None:
    if not isinstance(value, str):
        check.problem(path, not_text, _LISTEN_ADVICE)
        return None
    try:
        return parse_listen(value)
    except ValueError as error:
        check.problem(path, str(error), _LISTEN_ADVICE)
        return None


def _host_and_port(check: Checker, top: dict[str, Any]) -> TcpAddress:
    host = check.typed(("host",), top.get("host", DEFAULT_HOST), str, "write e.g. 127.0.0.1")
    port = check.typed(("port",), top.get("port", DEFAULT_PORT), int, "write e.g. 8080")
    try:
        if host:
            check_host(host)
    except ValueError as error:
        check.problem(("host",), str(error), "write e.g. 127.0.0.1 or ::1")
    try:
        if port is not None:
            check_port(str(port))
    except ValueError as error:
        check.problem(("port",), str(error), "write e.g. 8080")
    return TcpAddress(host or None, port or 0)


def _socket_mode(check: Checker, value: object) -> int:
    todo = 'write it in octal, e.g. "0660"'
    text = check.typed(("socketMode",), value, str, todo)
    if text is not None and not _MODE.fullmatch(text):
        check.problem(("socketMode",), "is not an access mode", todo)
        return 0
    return int(text or "0", 8)


def _tls(check: Checker, value: object, load_tls: LoadTls) -> Certificate | None:
    found = check.members(value, TLS_KEYS, ("tls",))
    if found is None:
        return None
    files: list[str | None] = []
    for key in TLS_KEYS:
        path, todo = ("tls", key), "write the path of a PEM file"
        file = check.typed(path, found[key], str, todo) if key in found else ""
        if file == "":
            check.problem(path, "is missing" if key not in found else "is empty", todo)
        elif file is not None and ("\0" in file or not encodable(file)):
            check.problem(path, "is no path of a file", todo)
            file = None
        files.append(file or None)
    try:
        return load_tls(*files)
    except ConfigError as error:
        check.problems += error.problems
        return None


def _max_body_bytes(check: Checker, value: object) -> int:
    todo = f"write a number of bytes up to {MAX_BYTES}, or 0 for the default"
    limit = check.typed(("maxBodyBytes",), value, int, todo)
    if limit is not None and not 0 <= limit <= MAX_BYTES:
        check.problem(("maxBodyBytes",), "is out of range", todo)
        limit = None
    return limit or DEFAULT_MAX_BODY_BYTES


def _max_buffered_bytes(
    check: Checker, top: dict[str, Any], max_body_bytes: int, workers: int
) -> int:
    # Or a body of the largest size would be refused for ever, with the advice to try again.
    needed = max_body_bytes * workers
    default = max(DEFAULT_MAX_BUFFERED_BYTES, needed)
    limit = _count(check, top, "maxBufferedBytes", 1, MAX_BYTES, default)
    if limit < needed:
        share = "is smaller than maxBodyBytes"
        if workers > 1:
            share = f"is smaller than maxBodyBytes for each of {workers} workers"
        todo = f"write {needed} or more, or lower maxBodyBytes"
        check.problem(("maxBufferedBytes",), share, todo)
    return limit


def _drain_timeout(check: Checker, top: dict[str, Any]) -> float:
    seconds = top.get("drainTimeout", DEFAULT_DRAIN_S)
    return check.seconds(("drainTimeout",), seconds) or DEFAULT_DRAIN_S


def _count(
    check: Checker, top: dict[str, Any], key: str, least: int, most: int, default: int
) -> int:
    if key not in top:
        return default
    todo = f"write a number from {least} to {most}"
    count = check.typed((key,), top[key], int, todo)
    if count is not None and not least <= count <= most:
        check.problem((key,), "is out of range", todo)
        return default
    return default if count is None else count


def _access_log(check: Checker, value: object) -> AccessLogFormat:
    for known in get_args(AccessLogFormat):
        if value == known:
            return cast(AccessLogFormat, known)
    check.problem(("accessLog",), "is not a known format", 'write "text", "json" or "off"')
    return "off"


def _tokens(check: Checker, value: object) -> tuple[str, ...]:
    todo = 'write ["${file:PATH}"], or remove it to ask for no token'
    tokens = []
    for index, raw in enumerate(check.typed(("authTokens",), value, list, todo) or []):
        path = ("authTokens", index)
        token = check.secret(path, raw)
        if token is not None and token.strip() != token:
            check.problem(path, "starts or ends with white space", "remove it")
        elif token == "":
            check.problem(path, "is empty", "write ${file:PATH} or ${env:NAME}")
        elif token is not None:
            tokens.append(token)
    return tuple(tokens)
