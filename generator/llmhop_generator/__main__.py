"""Lets `python -m llmhop_generator` run the command."""

from llmhop_generator.cli.main import main

main()
