"""What an image's own parser refuses of the flags of models, by the options that set them."""

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from llmhop_generator.contract.flags import canonical
from llmhop_generator.errors import Finding
from llmhop_generator.render.provenance import Command, Flag


def question(commands: Sequence[Command]) -> str:
    """The command lines as `serve_parser` takes them, as JSON."""
    return json.dumps([[c.model, [list(flag.words) for flag in c.flags]] for c in commands])


def findings(image: str, commands: Sequence[Command], answer: str) -> Iterator[Finding]:
    """Read what `serve_parser` printed.

    Raises:
        ValueError: it is no answer to the question.
    """
    try:
        read = json.loads(answer)
        names = [str(name).removeprefix("--") for name in read["flags"]]
        for command, told in zip(commands, read["commands"], strict=True):
            yield from _command_findings(image, command, told, names)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its answer makes no sense ({error})") from None


def _command_findings(
    image: str, command: Command, told: dict[str, Any], names: Sequence[str]
) -> Iterator[Finding]:
    whole, single = told["whole"], told["single"]
    if whole is None:
        return
    found = [
        Finding(flag.where, _refusal(image, flag, said, names))
        for flag, said in zip(command.flags, single, strict=True)
        if said is not None
    ]
    # Each flag is well, and not all of them together.
    yield from found or [
        Finding(command.where, f"vLLM in {image} refuses them: {_one_line(whole)}")
    ]


def _refusal(image: str, flag: Flag, said: str, names: Sequence[str]) -> str:
    if flag.default:
        refused = f"vLLM in {image} refuses {flag.words[0]}"
        return f"{refused}, which is a default for its tag; set the option to null"
    if not said.startswith("unrecognized arguments"):
        return f"vLLM in {image} refuses it: {_one_line(said)}"
    near = get_close_matches(canonical(flag.key).partition(".")[0], names, n=1)
    hint = f"; the nearest is {near[0]}" if near else "; leave it out"
    return f"vLLM in {image} has no such flag{hint}"


def _one_line(said: str) -> str:
    """Words of a parser on one line, without the flag that the option names already."""
    words = " ".join(said.split())
    return words.partition(": ")[2] if words.startswith("argument ") else words
