"""Tables: plain text for programs and files, coloured and folded to its width on a terminal."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmhop_generator.cli.messages import printable, send, spell_options

STATES: Final[Mapping[str, str]] = {
    "healthy": "green",
    "starting": "yellow",
    "failed": "red",
    "paused": "red",
}
"""Colours of how models are."""
STEPS: Final[Mapping[str, str]] = {
    "delete": "red",
    "start": "green",
    "stop": "red",
    "write": "yellow",
}
"""Colours of what `apply` does."""

_NO_WIDTH = 1 << 20  # columns: nothing is folded


def show(
    rows: Sequence[Sequence[str]],
    *,
    has_head: bool = False,
    colours: Mapping[str, str] | None = None,
    coloured: int = 0,
) -> None:
    """Write rows to standard output, each column as wide as its widest cell.

    The cells of the column `coloured` get the colours of their words.

    Raises:
        GeneratorError: they can't be written.
    """
    is_rich = _shows_colours()
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in rows[0]:
        table.add_column(overflow="fold")
    for number, row in enumerate(rows):
        # Of type Text, because in a str square brackets would be markup.
        cells = [Text(_cell(cell)) for cell in row]
        cells[coloured].stylize((colours or {}).get(row[coloured], ""))
        table.add_row(*cells, style="bold" if has_head and number == 0 else None)
    written = StringIO()
    Console(
        file=written,
        width=shutil.get_terminal_size().columns if is_rich else _NO_WIDTH,
        color_system="standard" if is_rich else None,
        no_color=False,
        legacy_windows=False,
    ).print(table)
    send("".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines()))


def _shows_colours() -> bool:
    """Whether standard output is a terminal whose user wants colours (https://no-color.org)."""
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    )


def _cell(text: str) -> str:
    """A cell is one line, whatever is in it."""
    return printable(spell_options(text)).replace("\n", "\\n").replace("\t", "\\t")
