"""Runs inside an image: parses arguments of `vllm serve` with its vLLM, without loading a model.

It runs in an image, by the Python there, and needs nothing but vLLM: its source goes to
`python3 -`, with a call of `main` after it. The modules named here are those of vLLM since
0.7; which parser they use, and what is in it, is up to them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn


def _refuse(_parser: argparse.ArgumentParser, message: str) -> NoReturn:
    raise ValueError(message)


def _assume_a_platform() -> None:
    """Have a device, without which some versions make no parser: the CPU, as in `vllm bench`."""
    with suppress(ImportError, AttributeError):
        platforms: Any = importlib.import_module("vllm.platforms")
        if platforms.current_platform.is_unspecified():
            platforms.current_platform = importlib.import_module("vllm.platforms.cpu").CpuPlatform()


def _own_parser() -> tuple[argparse.ArgumentParser, Any]:
    """vLLM's own parser, and its command `serve`."""
    _assume_a_platform()
    serve = importlib.import_module("vllm.entrypoints.cli.serve")
    parser = serve.FlexibleArgumentParser(prog="vllm")
    command = serve.cmd_init()[0]
    commands = parser.add_subparsers(dest="subparser")
    command.subparser_init(commands)
    return parser, command


def _refusal(call: Callable[[Sequence[str]], Any], words: Sequence[str]) -> str | None:
    """What vLLM says of arguments that it refuses, or None."""
    try:
        call(words)
    except (SystemExit, TypeError, ValueError, IndexError, argparse.ArgumentError) as error:
        return str(error)
    return None


def answer(commands: Sequence[Any]) -> dict[str, Any]:
    """Say of each command line what is refused: of the whole, and of each of its flags.

    A command is the model and a list of flags, each a list of words.
    """
    argparse.ArgumentParser.error = _refuse  # type: ignore[method-assign, assignment]
    parser, command = _own_parser()

    def parse(words: Sequence[str]) -> argparse.Namespace:
        return parser.parse_args(["serve", *words])

    def check(words: Sequence[str]) -> None:
        found = parse(words)
        found.chat_template = None  # a file that is not here
        command.validate(found)

    told = []
    for model, flags in commands:
        whole = _refusal(check, [model, *(word for words in flags for word in words)])
        single = [_refusal(parse, [model, *words]) for words in flags] if whole is not None else []
        told.append({"whole": whole, "single": single})
    return {"commands": told, "flags": sorted(_flags(parser))}


def _flags(parser: argparse.ArgumentParser) -> set[str]:
    """The names of all flags that a parser and its commands know."""
    found: set[str] = set()
    for action in parser._actions:
        found.update(name for name in action.option_strings if name.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                found |= _flags(each)
    return found


def main(commands: Sequence[Any]) -> None:
    """Write the answer to standard output, and what else is printed to standard error."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        json.dump(answer(commands), output)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
    output.close()
