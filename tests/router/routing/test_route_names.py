"""Names of models, aliases, and patterns of aliases."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmhop.errors import ApiError
from llmhop.routing.decision import Route
from llmhop.routing.route_names import RouteNames
from llmhop.routing.table import RoutingTable

from tests.router.support.endpoints import check

ALIASES = {
    "fast": ["claude-*", "claude-haiku-4-5"],
    "strong": ["claude-opus-*", "*-large"],
    "any": ["*"],
}


def names(aliases: dict[str, list[str]]) -> RouteNames:
    models = {m: {"url": "http://h", "aliases": patterns} for m, patterns in aliases.items()}
    return RoutingTable(check({"models": models}), 0).routes


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("fast", "fast"),
        ("claude-haiku-4-5", "fast"),
        ("claude-x", "fast"),
        ("claude-", "fast"),
        ("claude-opus-4", "strong"),
        ("gpt-large", "strong"),
        ("claude", "any"),
        ("Claude-x", "any"),
        ("", "any"),
        ("strong", "strong"),
    ],
)
def test_the_narrowest_name_counts(name: str, model: str) -> None:
    route = names(ALIASES).find(name)
    assert route is not None
    assert route.model == model
    assert route.renames is (name != model)


def test_without_a_match_there_is_no_model() -> None:
    found = names({"m": ["claude-*"]})
    assert found.find("gpt") is None
    assert found.find("claude") is None


LETTERS = st.text("ab*", max_size=8)


@given(pattern=LETTERS, name=st.text("ab", max_size=8))
def test_a_pattern_matches_what_a_shell_has_it_match(pattern: str, name: str) -> None:
    if "*" not in pattern:
        return
    route = names({"m": [pattern]}).find(name)
    assert (route is not None) == fnmatchcase(name, pattern)


def test_a_pattern_is_looked_for_in_time_that_grows_with_the_name() -> None:
    found = names({"m": ["*a" * 100 + "*b"]})
    assert found.find("a" * 100_000) is None


def test_a_pattern_has_one_owner() -> None:
    with pytest.raises(Exception, match="is a name of the model fast already"):
        names({"fast": ["claude-*"], "strong": ["claude-*"]})


def test_names_of_one_model_agree() -> None:
    models = {"m": {"url": "http://h", "aliases": ["c-*"]}, "n": {"url": "http://h"}}
    table = RoutingTable(check({"models": models}), 0)
    route = table._named_route(["c-1", "c-2", "m"])
    assert isinstance(route, Route)
    with pytest.raises(ApiError, match="two models"):
        table._named_route(["c-1", "n"])
