"""Findings about environment files: that they are there, and read as they were meant."""

from collections.abc import Iterator
from pathlib import Path

from llmhop_generator.contract.options import Vllm
from llmhop_generator.errors import Finding
from llmhop_generator.errors import Path as OptionPath
from llmhop_generator.host import files
from llmhop_generator.host.env_file import misread
from llmhop_generator.host.process import Account
from llmhop_generator.preflight.storage.access import access_findings


def environment_file_findings(vllm: Vllm, account: Account | None) -> Iterator[Finding]:
    """Find files that the user can't read; `account` is None where it does not exist."""
    tests: list[tuple[str, str, Finding]] = []
    for where, path in environment_files(vllm):
        if not Path(path).is_file():
            what = "is not a file" if Path(path).exists() else "does not exist on this host"
            yield Finding.at(where, f"{path} {what}; put one there, or unset it")
            continue
        content = files.read_regular(Path(path)) or b""
        yield from (Finding.at(where, f"{path} {what}") for what in misread(content))
        advice = f"{path} can't be read by {vllm.user}, who reads it; let that user read it"
        tests.append(("-r", path, Finding.at(where, advice)))
    if tests and account is not None:
        yield from access_findings(account, tests)


def environment_files(vllm: Vllm) -> Iterator[tuple[OptionPath, str]]:
    """The environment files of enabled models, and where each is set."""
    if vllm.environment_file is not None:
        yield ("vllm", "environmentFile"), vllm.environment_file
    for key, model in vllm.models.items():
        if model.enable and model.environment_file is not None:
            yield ("vllm", "models", key, "environmentFile"), model.environment_file
