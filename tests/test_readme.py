"""What the README shows is accepted by what it tells of."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from llmhop_generator.cli import main
from llmhop_generator.contract import Vllm
from llmhop_generator.load import parse_config
from llmhop_generator.unit_keys import SECTIONS

from tests.module.nix import REASON, nix_instantiate

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(ROOT.glob("*.md"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_json_of_the_readme_is_a_whole_configuration() -> None:
    (text,) = blocks("json")
    vllm = parse_config(text.encode(), "README.md").vllm
    assert isinstance(vllm, Vllm)
    assert [model.name for model in vllm.enabled_models] == ["qwen2-5-7b"]


@pytest.mark.skipif(REASON is not None, reason=str(REASON))
@pytest.mark.parametrize("index", range(len(blocks("nix"))))
def test_the_nix_of_the_readme_parses(index: int, tmp_path: Path) -> None:
    text = blocks("nix")[index]
    path = tmp_path / "block.nix"
    # A block shows a whole file, or the body of one.
    path.write_text(text if text.startswith("{") else f"{{\n{text}}}\n", encoding="utf-8")
    nix_instantiate("--parse", path)


def test_the_readme_names_each_command_and_no_other() -> None:
    table = README.split("| command | what it does |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `([a-z]+)", table, re.MULTILINE) == list(main.commands)
    for command in main.commands:
        assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


def test_the_readme_names_each_option() -> None:
    documented = json.loads((ROOT / "tests/module/options.json").read_text(encoding="utf-8"))
    leaves = {option["name"].rsplit(".", 1)[1] for option in documented}
    ours = {"openFirewall", "waitUntilHealthy", "package"}
    for leaf in leaves | ours | set(SECTIONS):
        assert re.search(rf"[`.]{leaf}[`.]", README), leaf


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
