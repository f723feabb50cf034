"""Messages for whoever runs a command, with options spelled as that reader wrote them."""

import logging
import os
from pathlib import Path

import click

from llmhop_generator.errors import json_names

NAMES_VARIABLE = "LLMHOP_OPTION_NAMES"
"""Set to `nixos` where a NixOS host is built on another system."""

_NIXOS_NAMES = f"{__name__}.nixos_names"


def use_nixos_names(context: click.Context, *, always: bool = False) -> None:
    """Have options told as NixOS spells them: always, or where this is NixOS or builds one."""
    named = os.environ.get(NAMES_VARIABLE) == "nixos" or Path("/etc/NIXOS").exists()
    context.meta[_NIXOS_NAMES] = always or named


def spelled(text: str) -> str:
    """Spell the options in a text as its reader wrote them: by NixOS's names, or as in JSON."""
    context = click.get_current_context(silent=True)
    nixos = context is None or context.meta.get(_NIXOS_NAMES, True)
    return text if nixos else json_names(text)


def say(text: str, *, err: bool = False) -> None:
    """Write a line to standard output, or with `err` to standard error."""
    click.echo(spelled(text), err=err)


class Formatter(logging.Formatter):
    """Writes a log line as `say` would."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        return spelled(super().format(record))
