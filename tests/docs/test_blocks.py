"""What the pages show to be copied is accepted by what it is for."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import Context, Group
from jsonschema import Draft202012Validator
from llmhop.cli import main as llmhop
from llmhop.config.parser import config_schema
from llmhop_generator.cli.main import main as generator
from llmhop_generator.parse.load import parse_config

from tests.docs.markdown import PAGES, ROOT, Block, blocks
from tests.module.nix import NixError, evaluate, needs_nix, nix_instantiate, vllm

BLOCKS = [block for page in PAGES for block in blocks(page)]
OURS = ("tests/", "benchmarks/", "examples/", "docs/")


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def commands(page: Path) -> Iterator[str]:
    """The command lines of a page: behind a prompt, or in an indented block."""
    for block in blocks(page):
        if block.language == "console":
            yield from re.findall(r"^[$#] (.+)$", block.text, re.MULTILINE)
    indented = r"^    ((?:LLMHOP_\w+=\S+ )?(?:tests|benchmarks)/.+)$"
    yield from re.findall(indented, page.read_text(encoding="utf-8"), re.MULTILINE)


COMMANDS = [(page, line) for page in PAGES for line in commands(page)]


def is_module(block: Block) -> bool:
    in_nix = block.language == "nix" and "services.llmhop" in block.text
    # A flake is none, and what reads files of the reader's can't be evaluated here.
    return in_nix and "outputs =" not in block.text and "./" not in block.text


def parses(text: str) -> bool:
    try:
        nix_instantiate("--parse", "--expr", f"{{ config, lib, pkgs }}: ({text})")
    except NixError:
        return False
    return True


def whole(text: str) -> str:
    """A block as Nix: as it is, or the body of a set."""
    return text if parses(text) else f"{{\n{text}}}\n"


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_is_a_configuration_of_the_generator_or_of_the_router(block: Block) -> None:
    data = json.loads(block.text)
    if "version" in data:
        parse_config(block.text.encode(), str(block))
    else:
        Draft202012Validator(config_schema()).validate(data)


@pytest.mark.parametrize("block", of("jsonl"), ids=str)
def test_lines_of_json_are_each_a_host_with_its_contract_or_its_error(block: Block) -> None:
    for line in map(json.loads, block.text.splitlines()):
        assert line["host"]
        assert ("contract" in line) != ("error" in line)


@needs_nix
@pytest.mark.parametrize("block", of("nix"), ids=str)
def test_nix_parses(block: Block) -> None:
    assert parses(whole(block.text))


@needs_nix
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(map(is_module, blocks(page)))],
    ids=lambda page: page.name,
)
def test_the_modules_of_a_page_are_together_a_host_that_builds(page: Path) -> None:
    modules = [whole(block.text) for block in blocks(page) if is_module(block)]
    # A page that shows a part of a configuration leaves the rest to others.
    base = [] if any("enable = true" in module for module in modules) else [vllm()]
    contract = evaluate("contract", *base, *modules)
    assert contract["vllm"]["models"]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: Path(value).name[:60])
def test_a_command_line_is_one_that_its_program_takes(page: Path, line: str) -> None:
    subprocess.run(["bash", "-n", "-c", line], check=True)
    for words in simple_commands(line):
        for path in words:
            if path.startswith(OURS):
                assert (ROOT / path).exists(), path
        if words[0] == "llmhop-generator":
            accepts(generator, words[1:])
        elif words[0] == "llmhop":
            llmhop.make_context("llmhop", words[1:])


def simple_commands(line: str) -> Iterator[list[str]]:
    for part in re.split(r" (?:&&|\|) ", line):
        words = [word for word in shlex.split(part, comments=True) if word[0] not in "<>"]
        while words and re.match(r"\w+=", words[0]):
            words = words[1:]
        if words:
            yield words


def accepts(group: Group, words: list[str]) -> None:
    """Parse the words as the command would, and run nothing. click raises where it would fail."""
    known = {option for parameter in group.params for option in parameter.opts}
    while words[0] in known:
        words = words[1:]
    # Below the group, as it is run: a command keeps the help option of its first context.
    parent = Context(group, **group.context_settings)
    group.commands[words[0]].make_context(words[0], words[1:], parent=parent)


def test_every_kind_of_block_was_seen() -> None:
    assert of("json")
    assert of("nix")
    assert COMMANDS
