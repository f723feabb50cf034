"""What the pages list is what there is: options, settings, units, errors, metrics."""

import re
from pathlib import Path

import pytest
from llmhop.config.config import CONFIG
from llmhop.observe.metric_store import MetricStore
from llmhop.observe.metrics_page import render_page
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.command_pages import COMMANDS, fresh_command_pages
from tests.docs.markdown import BOOK, ROOT
from tests.docs.update_pages import (
    INTERNALS,
    OPTIONS,
    SETTINGS,
    fresh_internals_page,
    fresh_options_page,
    fresh_settings_page,
)
from tests.module.nix import needs_nix

UPDATE = "run python3 -m tests.docs.update_pages and review the change"


def committed(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@needs_nix
def test_the_page_of_options_is_what_the_module_declares() -> None:
    assert committed(OPTIONS) == fresh_options_page(), UPDATE


def test_the_page_of_settings_is_what_the_routers_schema_says() -> None:
    assert committed(SETTINGS) == fresh_settings_page(), UPDATE


def test_operators_are_told_of_every_setting_that_waits_for_a_restart() -> None:
    rows = committed(BOOK / "operations.md").splitlines()
    (row,) = [line for line in rows if line.startswith("| `listen`, ")]
    named = re.findall(r"`(\w+)`", row.split("|")[1])
    assert set(named) == {key for key, each in CONFIG.settings.items() if each.at_start != "no"}


def test_the_unit_on_the_page_of_internals_is_what_the_generator_renders() -> None:
    assert committed(INTERNALS) == fresh_internals_page(), UPDATE


def test_manual_pages_and_completions_are_what_the_commands_say() -> None:
    found = {
        path: committed(path)
        for project in COMMANDS
        for path in (ROOT / project / "share").rglob("*")
        if path.is_file()
    }
    assert found == fresh_command_pages(), UPDATE


@pytest.mark.parametrize("page", [OPTIONS, SETTINGS], ids=lambda page: page.name)
def test_no_description_is_taken_for_html(page: Path) -> None:
    outside_of_code = re.sub(r"(?s)```.*?```|`[^`]*`", "", committed(page))
    assert "<" not in outside_of_code


def test_clients_are_told_of_every_error_code_and_no_other() -> None:
    source = (ROOT / "router/llmhop/errors.py").read_text(encoding="utf-8")
    table = committed(BOOK / "clients.md").split("## Errors")[1].split("##")[0]
    in_use = set(re.findall(r'code(?:: str = |=)"(\w+)"', source))
    assert set(re.findall(r"\d{3} `(\w+)`", table)) == in_use


def test_operators_are_told_of_every_metric_and_no_other() -> None:
    page = render_page(MetricStore(1)).decode()
    families = {family.name for family in text_string_to_metric_families(page)}
    table = committed(BOOK / "operations.md").split("## Metrics")[1].split("##")[0]
    named = {name.removesuffix("_total") for name in re.findall(r"`(llmhop_\w+)`", table)}
    assert named == {name for name in families if name.startswith("llmhop_")}
