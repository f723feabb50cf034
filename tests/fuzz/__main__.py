"""Fuzzes one target with atheris: python -m tests.fuzz TARGET [options of libFuzzer].

Files among the options are run once each, in place of fuzzing: that repeats a finding.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["llmhop"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.seeds import write


def main() -> None:
    """Run as the command line says."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [options of libFuzzer]")
    target, *options = sys.argv[1:]
    repeats = any(not option.startswith("-") for option in options)
    with tempfile.TemporaryDirectory() as corpus:
        write(target, Path(corpus))
        words = Path(__file__).with_name("http.dict")
        begin = [f"-dict={words}"] if repeats else [f"-dict={words}", corpus]
        atheris.Setup([sys.argv[0], *begin, *options], TARGETS[target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
