"""Validates the flags of models with the parser in their image, before anything is changed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from llmhop_generator.contract.options import Vllm
from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.host.podman import has_image, run_python
from llmhop_generator.host.process import Account, account_of
from llmhop_generator.host.systemd import system_states
from llmhop_generator.image import refusals
from llmhop_generator.layout import user_manager
from llmhop_generator.render.model_unit import images_of, serve_commands
from llmhop_generator.render.provenance import Command
from llmhop_generator.unit_names import model_of

# To import vLLM takes seconds from memory, and from a slow disk minutes.
LIMIT_S = 180

Report = Callable[[str], None]


def check_flags(vllm: Vllm, report: Report) -> None:
    """See that the images which are here take the flags of their models.

    Raises:
        GeneratorError: they do not.
    """
    manager = user_manager(vllm.uid)
    if system_states([manager])[manager].active != "active":
        return  # Podman can't be asked
    account, images = account_of(vllm.uid), images_of(vllm)
    by_image: dict[str, dict[str, Command]] = {}
    for name, command in serve_commands(vllm).items():
        if command.flags and has_image(account, images[name]):
            by_image.setdefault(images[name], {})[name] = command
    for image, commands in by_image.items():
        models = ", ".join(map(model_of, commands))
        report(f"asking {image} whether its vLLM takes the flags of {models}")
    require_taken(account, by_image, report)


def require_taken(
    account: Account, by_image: Mapping[str, Mapping[str, Command]], report: Report
) -> None:
    """See that images of a user take the flags of their models, as far as they can be asked.

    Raises:
        GeneratorError: they do not.
    """
    found: list[Finding] = []
    for image, commands in by_image.items():
        try:
            found += refused(account, image, tuple(commands.values()))
        except GeneratorError as error:
            report(f"note: {image} can't be asked, so its flags are not checked: {error}")
    if found:
        raise GeneratorError("vLLM does not take these flags, and nothing was changed", found)


def refused(account: Account, image: str, commands: Sequence[Command]) -> list[Finding]:
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
        return list(refusals.findings(image, commands, done.stdout))
    except ValueError as error:
        raise GeneratorError(str(error)) from None
