"""Secret references in config strings, so that the config itself holds no secret.

``${env:NAME}`` and ``$NAME`` are environment variables. ``${file:PATH}`` is the content of a
file without its trailing newlines; a relative PATH starts at ``$CREDENTIALS_DIRECTORY``, where
systemd puts what ``LoadCredential=`` names, if that is set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from llmhop.config.regular_file import read_regular

_REFERENCE = re.compile(r"\$\{(?P<braced>[^}]*)\}|\$(?P<plain>[A-Za-z0-9_]+)|(?P<open>\$\{)")
_ENV_STYLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_MAX_FILE_BYTES = 64 * 1024
_PLACEHOLDER = "secret"


class SecretError(Exception):
    """A reference that can't be resolved. Never holds a value."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"{what}; {todo}")
        self.what = what
        self.todo = todo


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return `text` with every reference replaced by its value.

    Raises SecretError for the first reference that has none.
    """
    return _replaced(
        text,
        lambda name, reference: _variable(name, environment, reference),
        lambda name: _file(name, environment),
    )


def expand_unread(text: str) -> str:
    """Return `text` with a word in place of every reference, whatever its value may be.

    For a check where secrets can't be read. Raises SecretError for the first reference that can
    have no value anywhere.
    """
    return _replaced(text, _any_variable, _any_file)


def _replaced(text: str, variable: Callable[[str, str], str], file: Callable[[str], str]) -> str:
    """Replace references: `variable` gets a name and the reference, `file` a path."""

    def value(match: re.Match[str]) -> str:
        if match["open"] is not None:
            raise SecretError("a '${' has no closing '}'", "write ${env:NAME} or ${file:PATH}")
        if match["plain"] is not None:
            return variable(match["plain"], f"${match['plain']}")
        kind, colon, name = match["braced"].partition(":")
        if not colon:
            return variable(kind, f"${{{kind}}}")
        if kind == "env":
            return variable(name, f"${{env:{name}}}")
        if kind == "file":
            return file(name)
        what = "a '${…}' reference is of no known kind"
        raise SecretError(what, "write ${env:NAME} or ${file:PATH}")

    return _REFERENCE.sub(value, text)


def _any_variable(name: str, reference: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise SecretError(f"{reference} names no variable", "write ${env:NAME}")
    return _PLACEHOLDER


def _any_file(name: str) -> str:
    if not name or "\0" in name:
        raise SecretError("a ${file:…} names no file", "write ${file:PATH}")
    return _PLACEHOLDER


def _variable(name: str, environment: Mapping[str, str], reference: str) -> str:
    try:
        if value := environment[name]:
            return value
        raise SecretError(
            f"{reference} refers to an environment variable that is empty",
            f"give {name} a value in the environment of llmhop",
        )
    except KeyError:
        pass
    if not _ENV_STYLE.fullmatch(name) and not reference.startswith("${env:"):
        # Most likely a secret written out in full that happens to contain a dollar sign:
        # naming the "variable" would print a part of it.
        raise SecretError(
            "a '$' here starts a reference to an environment variable that is not set",
            "put a secret with a '$' in a file and write ${file:PATH}",
        )
    raise SecretError(
        f"{reference} refers to an environment variable that is not set",
        f"set {name or 'a variable'} in the environment of llmhop",
    )


def _file(name: str, environment: Mapping[str, str]) -> str:
    reference = f"${{file:{name}}}"
    path = Path(environment.get("CREDENTIALS_DIRECTORY", ""), name)
    todo = "make it a text file that llmhop can read, or pass it with LoadCredential="
    try:
        data = read_regular(path, _MAX_FILE_BYTES)
        if len(data) > _MAX_FILE_BYTES:
            raise SecretError(f"{reference} is larger than {_MAX_FILE_BYTES} bytes", todo)
        if not (value := data.decode().rstrip("\r\n")):
            raise SecretError(f"{reference} is empty", "write a value into it")
        return value
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SecretError(f"{reference} can't be read ({reason}: {path})", todo) from None
    except UnicodeDecodeError:
        raise SecretError(f"{reference} is not UTF-8", todo) from None
    except ValueError:  # a NUL in the path
        raise SecretError("a ${file:…} path holds a NUL", todo) from None
