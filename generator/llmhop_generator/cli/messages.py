"""Messages for whoever runs a command, with options spelled as that reader wrote them."""

import logging
import os
import re
from pathlib import Path

import click

from llmhop_generator.errors import GeneratorError, json_names

NAMES_VARIABLE = "LLMHOP_OPTION_NAMES"
"""Set to `nixos` where a NixOS host is built on another system."""

_STDOUT, _STDERR = 1, 2


class ReaderLeftError(GeneratorError):
    """The reader of standard output has closed it, as `head` does (EPIPE)."""


# C0 and C1 but for newline and tab, Unicode's own ends of lines, what turns the direction of text
# (CVE-2021-42574), and halves of surrogate pairs, which stand for bytes of a path beyond UTF-8.
_UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NIXOS_NAMES = f"{__name__}.nixos_names"


def use_nixos_names(context: click.Context, *, always: bool = False) -> None:
    """Have options told as NixOS spells them: always, or where this is NixOS or builds one."""
    named = os.environ.get(NAMES_VARIABLE) == "nixos" or Path("/etc/NIXOS").exists()
    context.meta[_NIXOS_NAMES] = always or named


def spell_options(text: str) -> str:
    """Spell the options in a text as its reader wrote them: by NixOS's names, or as in JSON."""
    context = click.get_current_context(silent=True)
    nixos = context is None or context.meta.get(_NIXOS_NAMES, True)
    return text if nixos else json_names(text)


def printable(text: str) -> str:
    """Spell out what would steer a terminal: names, paths and logs are written by others.

    It is done as JSON does, so that JSON stays what it is.
    """
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str, *, err: bool = False, end: str = "\n") -> None:
    """Write a line of a message; see `write`."""
    write(spell_options(text) + end, err=err)


def write(text: str, *, err: bool = False) -> None:
    """Write to standard output, or with `err` to standard error, what any terminal can show.

    Raises:
        GeneratorError: it can't be written. What comes later is written nowhere.
    """
    send(printable(text), err=err)


def send(text: str, *, err: bool = False) -> None:
    """Write as `write` does, and with it what steers the terminal.

    Raises:
        GeneratorError: it can't be written.
    """
    try:
        click.echo(text, nl=False, err=err)
    except OSError as error:  # a reader that left, a full disk, a terminal that is gone
        _mute(_STDERR if err else _STDOUT)
        where = "standard error" if err else "standard output"
        if isinstance(error, BrokenPipeError):
            raise ReaderLeftError(f"nobody reads {where} any more") from None
        raise GeneratorError(f"{where} can't be written: {error.strerror}") from None


def _mute(descriptor: int) -> None:
    # Or what waits in a buffer would end the process with a traceback of its own.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


class Formatter(logging.Formatter):
    """Writes a log line as `say` would."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        return printable(spell_options(super().format(record)))
