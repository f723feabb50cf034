"""Writes the pages that are made from the module, from the router's schema and from commands.

Run from the repository root: python3 -m tests.docs.update_pages
The options take nix-instantiate and a nixpkgs library at <nixpkgs/lib>.
"""

import re

from llmhop.config.config import CONFIG
from llmhop.config.parser import config_schema
from llmhop_generator.contract.schema import contract_schema
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.tree import render

from tests.docs.command_pages import fresh_command_pages
from tests.docs.markdown import BOOK, ROOT
from tests.docs.options_page import options_page
from tests.docs.settings_page import settings_page
from tests.module.nix import evaluate

OPTIONS = BOOK / "options.md"
SETTINGS = BOOK / "settings.md"
INTERNALS = BOOK / "internals.md"
SHOWN = "vllm-qwen2-5-7b.container"
"""The unit of examples/minimal.json that the page of internals shows."""


def fresh_options_page() -> str:
    """Write the page of options as the module is now. Raises NixError where that can't be read."""
    return options_page(evaluate("options"), contract_schema())


def fresh_settings_page() -> str:
    """Write the page of settings as the router declares them now."""
    return settings_page(config_schema(), {k: s.at_start for k, s in CONFIG.settings.items()})


def fresh_internals_page() -> str:
    """Give the page of internals with the unit in it as it is rendered now."""
    example = (ROOT / "examples/minimal.json").read_bytes()
    unit = render(parse_config(example, "minimal.json")).quadlets[SHOWN]
    committed = INTERNALS.read_text(encoding="utf-8")
    return re.sub(r"(?s)(?<=```ini\n).*?(?=^```)", lambda _: unit, committed, flags=re.MULTILINE)


def main() -> None:
    """Write the pages."""
    for path, text in (
        (SETTINGS, fresh_settings_page()),
        (INTERNALS, fresh_internals_page()),
        (OPTIONS, fresh_options_page()),
        *fresh_command_pages().items(),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
