"""Writes Quadlet sources: which key is encoded how.

Podman reads each key with one of a few functions, and lays the result into the
one ExecStart= line of a service, where systemd expands `%` and `$`. An encoder
here is the inverse of both. What it could only alter, it refuses: such a value
is a fault of `parse.rules`, which should have told the user.

Sources: Podman 5.4, pkg/systemd/quadlet/quadlet.go and pkg/systemd/parser.
"""

import re
from collections.abc import Callable, Iterable

from llmhop_generator.contract.text import unrepresentable

Encoder = Callable[[str], str]
Line = tuple[str, str]
Section = tuple[str, Iterable[Line]]


def _expanded_by_systemd(value: str) -> str:
    return value.replace("%", "%%").replace("$", "$$")


def _raw(value: str) -> str:
    """Values that Podman takes as they stand (Lookup, LookupAll in unitfile.go).

    It trims white space and the double quotes at both ends, and a backslash at
    the end joins the next line.
    """
    if value != value.strip().strip('"') or value.endswith("\\"):
        raise ValueError(f"not representable as a raw value: {value!r}")
    return _expanded_by_systemd(value)


_PLAIN = re.compile(r"[A-Za-z0-9@_./:=,+-]+")
"""Words that mean the same with and without quotes."""


def _list_word(value: str) -> str:
    """One word of a list that is split and unquoted, with backslashes kept (LookupAllStrv)."""
    if _PLAIN.fullmatch(value):
        return value
    quote = "'" if '"' in value else '"'
    if quote in value or not value:
        raise ValueError(f"not representable as a quoted word: {value!r}")
    return _expanded_by_systemd(f"{quote}{value}{quote}")


_C_ESCAPES = {code: f"\\x{code:02x}" for code in [*range(1, 32), 127]} | {
    ord("\\"): "\\\\",
    ord('"'): '\\"',
    ord("\t"): "\\t",
    ord("\r"): "\\r",
}


def _escaped(value: str) -> str:
    """One word that is split, unquoted and C-unescaped (LookupAllArgs, LookupAllKeyVal)."""
    if not value or value == ";":
        # Podman ends the list at an empty word, systemd the command at a lone semicolon.
        raise ValueError(f"not representable as a word: {value!r}")
    if _PLAIN.fullmatch(value):
        return value
    return _expanded_by_systemd('"' + value.translate(_C_ESCAPES) + '"')


def _specifiers(value: str) -> str:
    """Values outside of ExecStart=, where systemd expands `%` only."""
    return value.replace("%", "%%")


ENCODERS: dict[str, Encoder] = {
    "AddDevice": _list_word,
    "ContainerName": _raw,
    "Entrypoint": _raw,
    "Environment": _escaped,
    "EnvironmentFile": _escaped,
    "Exec": _escaped,
    "HealthCmd": _raw,
    "HealthStartupCmd": _raw,
    "Image": _raw,
    "PublishPort": _raw,
    "ShmSize": _raw,
    "Volume": _raw,
}
"""How a [Container] key that carries anything of the user's is written."""


def container_line(key: str, *values: str) -> Line:
    """Encode one [Container] line; several values are words of the one line.

    Raises:
        ValueError: the value can't be written such that it arrives unchanged.
    """
    for value in values:
        if reason := unrepresentable(value):
            raise ValueError(f"{key} {reason}")
    return key, " ".join(map(ENCODERS[key], values))


def unit_line(key: str, value: str) -> Line:
    """Encode one line of [Unit], [Service] or [Install].

    Raises:
        ValueError: the value has a character that no unit file holds.
    """
    if reason := unrepresentable(value):
        raise ValueError(f"{key} {reason}")
    return key, _specifiers(value)


def unit_file(header: str, sections: Iterable[Section]) -> str:
    """Lay out a unit file: a comment, then the sections with a blank line between them."""
    blocks = [f"# {header}"]
    for name, lines in sections:
        blocks.append("\n".join([f"[{name}]", *(f"{key}={value}" for key, value in lines)]))
    return "\n\n".join(blocks) + "\n"
