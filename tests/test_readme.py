"""The README names what there is. What it shows to be copied is checked in tests/docs."""

import json
import re
from pathlib import Path

from click.testing import CliRunner
from llmhop.config.parser import config_schema
from llmhop_generator.cli.main import main
from llmhop_generator.contract.options import Vllm
from llmhop_generator.contract.unit_keys import SECTIONS, TYING
from llmhop_generator.parse.load import parse_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_json_of_the_readme_is_a_whole_configuration() -> None:
    (text,) = blocks("json")
    vllm = parse_config(text.encode(), "README.md").vllm
    assert isinstance(vllm, Vllm)
    assert [model.name for model in vllm.enabled_models] == ["qwen2-5-7b"]


def test_the_readme_names_each_command_and_no_other() -> None:
    table = README.split("| command | what it does |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)", table, re.MULTILINE) == list(main.commands)
    for command in main.commands:
        assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


def test_the_readme_names_each_option() -> None:
    documented = json.loads((ROOT / "tests/module/options.json").read_text(encoding="utf-8"))
    leaves = {option["name"].rsplit(".", 1)[1] for option in documented}
    ours = {"openFirewall", "waitUntilHealthy", "package", "generatorPackage"}
    for leaf in leaves | ours | set(SECTIONS):
        assert re.search(rf"[`.]{leaf}[`.]", README), leaf


def test_the_keys_that_may_not_tie_models_are_named() -> None:
    options = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    of_units = options.split("### `services.llmhop.vllm.unitConfig`")[1].split("\n### ")[0]
    for key in TYING:
        assert f"`{key}`" in README, key
        assert f"`{key}`" in of_units, key


def test_the_readme_names_each_setting_of_the_router() -> None:
    top = config_schema()["properties"]
    for key in (*top, *top["models"]["additionalProperties"]["properties"]):
        assert re.search(rf"[`.]{key}[`.]", README), key
