"""Lines for whoever watches a run."""

import sys
from collections.abc import Callable

import click

from llmhop_generator.messages import say


def terminal(*, err: bool = False) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """A function for lines that stay, and one for the line that the next replaces.

    They write to standard output, or with `err` to standard error.
    """
    live = (sys.stderr if err else sys.stdout).isatty()
    clear = "\r\033[K" if live else ""

    def report(line: str) -> None:
        say(f"{clear}{line}", err=err)

    def tick(line: str) -> None:
        if live:
            click.echo(f"{clear}{line}", nl=False, err=err)

    return report, tick
