"""The stand-in's `vllm.entrypoints.cli.serve`: the parser of `vllm serve`, as vLLM makes it.

As the stand-in itself it takes flags that it does not know. What it does not take are the
names that begin with those of `STRICT`, in which tests may mistype one, and `--dtype` of a
type that there is not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

STRICT = ("--max-model-len", "--enable-auto-tool")
UNITS = {"k": 1000, "K": 1024, "m": 1000**2, "M": 1024**2}


def tokens(text: str) -> int:
    """A number of tokens, which vLLM takes as `131072` and as `128K`. Raises ValueError."""
    return int(text[:-1]) * UNITS[text[-1]] if text[-1:] in UNITS else int(text)


class FlexibleArgumentParser(argparse.ArgumentParser):
    """A parser for which some unknown flags are right."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse a command line, and refuse what looks like a mistyped flag."""
        found, unknown = self.parse_known_args(args, namespace)
        if wrong := [word for word in unknown if word.startswith(STRICT)]:
            self.error(f"unrecognized arguments: {' '.join(wrong)}")
        return found


class ServeSubcommand:
    """The command `serve`."""

    def subparser_init(self, commands: Any) -> FlexibleArgumentParser:
        """Add it to the commands of `vllm`."""
        parser: FlexibleArgumentParser = commands.add_parser("serve", allow_abbrev=False)
        parser.add_argument("model_tag", nargs="?")
        parser.add_argument("--max-model-len", type=tokens)
        parser.add_argument("--dtype", choices=["auto", "bfloat16", "float16"])
        parser.add_argument("--enable-auto-tool-choice", action="store_true")
        parser.add_argument("--tool-call-parser")
        return parser

    def validate(self, found: argparse.Namespace) -> None:
        """See that the flags go together. Raises TypeError."""
        if found.enable_auto_tool_choice and not found.tool_call_parser:
            raise TypeError("Error: --enable-auto-tool-choice requires --tool-call-parser")


def cmd_init() -> list[ServeSubcommand]:
    """The commands of this module."""
    return [ServeSubcommand()]
