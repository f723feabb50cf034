"""Lines for whoever watches a run."""

import sys
from collections.abc import Callable

import click


def terminal() -> tuple[Callable[[str], None], Callable[[str], None]]:
    """A function for lines that stay, and one for the line that the next replaces."""
    live = sys.stdout.isatty()
    clear = "\r\033[K" if live else ""

    def report(line: str) -> None:
        click.echo(f"{clear}{line}")

    def tick(line: str) -> None:
        if live:
            click.echo(f"{clear}{line}", nl=False)

    return report, tick
