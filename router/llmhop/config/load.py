"""Reads a config file: bytes to a checked Config, every failure as a ConfigError."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Callable
from pathlib import Path

from llmhop.config.config import Certificate, Config
from llmhop.config.findings import ConfigError, Finding
from llmhop.config.json_text import read_json
from llmhop.config.parser import parse
from llmhop.config.regular_file import read_at_most, read_regular
from llmhop.config.schema.checker import LoadTls
from llmhop.config.secrets import expand, expand_unread
from llmhop.config.tables.client import repeated_tokens
from llmhop.config.tls import check_authorities, load_certificate

_MAX_FILE_BYTES = 64 * 1024 * 1024


def load(path: Path, *, may_wait: bool) -> Config:
    """Read, check and resolve the config at `path`. Raises ConfigError.

    With `may_wait` it may be a pipe, as of a shell's `<(…)`, which is read to its end.
    """
    config = _parse(
        _read_json(path, may_wait),
        lambda text: expand(text, os.environ),
        lambda certificate, key: load_certificate(certificate, key, os.environ),
    )
    repeated = list(repeated_tokens(config.auth_tokens, config.clients or {}))
    if repeated:
        raise ConfigError(repeated)
    if any(url.origin.tls for model in config.models.values() for url in model.urls):
        check_authorities(os.environ)
    return config


def check_unread(path: Path) -> Config:
    """Check the config at `path` without what its secrets and certificates hold.

    The config that is returned can't serve. Raises ConfigError.
    """
    return _parse(
        _read_json(path, True), expand_unread, lambda _certificate, _key: Certificate(b"", b"")
    )


def _parse(
    read: tuple[object, list[Finding]], resolve_secret: Callable[[str], str], load_tls: LoadTls
) -> Config:
    """Check a value of which something may be in doubt; at its path nothing else is told."""
    data, doubts = read
    try:
        config = parse(data, resolve_secret, load_tls)
    except ConfigError as error:
        doubtful = {doubt.path for doubt in doubts}
        other = [
            finding
            for finding in error.findings
            if not any(finding.path[:count] in doubtful for count in range(len(finding.path) + 1))
        ]
        raise ConfigError(doubts + other) from None
    if doubts:
        raise ConfigError(doubts)
    return config


def _read_json(path: Path, may_wait: bool) -> tuple[object, list[Finding]]:
    where = ascii(str(path))[1:-1]
    return _json(where, _read(where, path, may_wait))


def _error(where: str, what: str, todo: str) -> ConfigError:
    return ConfigError([Finding(where, what, todo)])


def _read(where: str, path: Path, may_wait: bool) -> str:
    try:
        if may_wait:
            with path.open("rb") as file:
                data = read_at_most(file, _MAX_FILE_BYTES)
        else:
            data = read_regular(path, _MAX_FILE_BYTES)
    except FileNotFoundError:
        raise _error(where, "does not exist", "give the path of a JSON file") from None
    except IsADirectoryError:
        raise _error(where, "is a directory", "give the path of a JSON file") from None
    except PermissionError:
        raise _error(
            where, "can't be read (permission denied)", "let the user of llmhop read it"
        ) from None
    except OSError as error:
        raise _error(
            where, f"can't be read ({error.strerror})", "give the path of a JSON file"
        ) from None
    if len(data) > _MAX_FILE_BYTES:
        raise _error(where, f"is larger than {_MAX_FILE_BYTES} bytes", "give a JSON file")
    if data.startswith(codecs.BOM_UTF8):
        raise _error(where, "begins with a byte order mark", "save it as UTF-8 without one")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _error(where, f"is not UTF-8 (byte {error.start})", "save it as UTF-8") from None


def _json(where: str, text: str) -> tuple[object, list[Finding]]:
    try:
        return read_json(text)
    except json.JSONDecodeError as error:
        what = f"is not JSON (line {error.lineno}, column {error.colno}: {error.msg})"
        raise _error(where, what, "correct it there") from None
    except RecursionError:
        raise _error(where, "is nested too deeply", "write the keys of a config") from None
    except ValueError:
        # Python refuses to convert integers of more than 4300 digits.
        raise _error(where, "has a number that is too long", "correct it") from None
