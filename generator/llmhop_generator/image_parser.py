"""Has an image's own vLLM read the flags of models, before anything is changed for them."""

from collections.abc import Sequence
from pathlib import Path

from llmhop_generator import refusals
from llmhop_generator.errors import GeneratorError, Problem
from llmhop_generator.podman import run_python
from llmhop_generator.process import Account
from llmhop_generator.steps import Command

# To import vLLM takes seconds from memory, and from a slow disk minutes.
LIMIT_S = 180


def refused(account: Account, image: str, commands: Sequence[Command]) -> list[Problem]:
    """Give what the vLLM in an image of a user refuses.

    Raises:
        GeneratorError: it can't be asked.
    """
    source = Path(__file__).with_name("serve_parser.py").read_text(encoding="utf-8")
    program = f"{source}\nmain(json.loads({refusals.question(commands)!r}))\n"
    done = run_python(account, image, program, LIMIT_S)
    if done.code != 0:
        said = done.stderr.strip().rpartition("\n")[2]
        raise GeneratorError(said or f"it ended with code {done.code}")
    try:
        return list(refusals.problems(image, commands, done.stdout))
    except ValueError as error:
        raise GeneratorError(str(error)) from None
