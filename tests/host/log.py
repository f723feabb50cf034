"""What a scenario prints: one line for each subtest, the rest only on request."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

# Set to anything, it shows every step and what commands wrote to standard error.
VERBOSE = "LLMHOP_TEST_VERBOSE"


class Log:
    """The `log` of scenario scripts, with the methods of the NixOS driver's logger."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.verbose = bool(os.environ.get(VERBOSE))

    def _write(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def log(self, message: str, machine: str = "") -> None:
        """Note a detail, shown only when verbose."""
        if self.verbose:
            self._write(f"    {machine + ': ' if machine else ''}{message}")

    def info(self, message: str) -> None:
        """Print something worth knowing in every run."""
        self._write(message)

    def warning(self, message: str) -> None:
        """Print what may need someone's attention."""
        self._write(f"warning: {message}")

    def error(self, message: str) -> None:
        """Print what went wrong."""
        self._write(f"error: {message}")

    @contextmanager
    def nested(self, message: str, machine: str = "") -> Iterator[None]:
        """Note a step and how long it took, in seconds."""
        began = time.monotonic()
        self.log(message, machine)
        yield
        self.log(f"({message}: {time.monotonic() - began:.1f} s)", machine)

    @contextmanager
    def subtest(self, name: str) -> Iterator[None]:
        """Print one line that says how the subtest `name` ended and how long it took."""
        began = time.monotonic()
        outcome = "FAILED"
        try:
            yield
            outcome = "ok"
        finally:
            self._write(f"subtest: {name}: {outcome} ({time.monotonic() - began:.1f} s)")
