"""Runs the command with ``python -m llmhop``."""

from llmhop.cli import main

if __name__ == "__main__":
    main(prog_name="llmhop")
