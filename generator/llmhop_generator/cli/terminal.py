"""Progress lines on a terminal."""

import sys
from collections.abc import Callable
from contextlib import suppress

from llmhop_generator.cli.messages import printable, send, spell_options
from llmhop_generator.errors import GeneratorError


def terminal(*, err: bool = False) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """A function for lines that stay, and one for the line that the next replaces.

    They write to standard output, or with `err` to standard error. Where nobody watches any
    more they do nothing: a run that has begun goes on to its end.
    """
    stream = sys.stderr if err else sys.stdout
    live = stream is not None and stream.isatty()
    clear = "\r\033[K" if live else ""

    def report(line: str) -> None:
        with suppress(GeneratorError):
            send(f"{clear}{printable(spell_options(line))}\n", err=err)

    def tick(line: str) -> None:
        if live:
            with suppress(GeneratorError):
                send(f"{clear}{printable(spell_options(line))}", err=err)

    return report, tick
