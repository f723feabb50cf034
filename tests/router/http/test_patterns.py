"""Patterns take each byte once. The counter of test_steps relies on it, and can't see it."""

from __future__ import annotations

import re
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from tests.router.support.step_counter import MODULES, StepCounter, load

LOADED = load(StepCounter())

PATTERNS = [
    (f"{module}.{name}", pattern)
    for module in MODULES
    for name, value in vars(LOADED[module]).items()
    if isinstance(pattern := getattr(value, "__self__", value), re.Pattern)
]


def repeats(tree: Any) -> list[Any]:
    """Every repeat without a bound that may give back what it took."""
    found = []
    for kind, argument in tree:
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT) and argument[1] is sre.MAXREPEAT:
            found.append(argument)
        if kind is sre.ATOMIC_GROUP and len(argument) == 1 and argument[0][0] is sre.MAX_REPEAT:
            argument = argument[0][1][2]  # what it took as a whole is never given back
        for part in argument if isinstance(argument, tuple) else [argument]:
            for subtree in part if isinstance(part, list) else [part]:
                if isinstance(subtree, sre_parser.SubPattern):
                    found += repeats(subtree)
    return found


@pytest.mark.parametrize(("name", "pattern"), PATTERNS, ids=[name for name, _ in PATTERNS])
def test_no_pattern_goes_back_over_what_it_matched(name: str, pattern: re.Pattern[bytes]) -> None:
    tree = sre_parser.parse(pattern.pattern, pattern.flags)
    if name == "http.head._DOT_SEGMENT":  # is searched for, so its own length must have a bound
        assert tree.getwidth()[1] < 20
    assert repeats(tree) == []


def groups_kept(tree: Any) -> list[Any]:
    """Every possessive repeat of a group; Python 3.11.2 loses its place in one (gh-106052)."""
    one = (sre.IN, sre.LITERAL, sre.NOT_LITERAL, sre.ANY)
    found = []
    for kind, argument in tree:
        if kind is sre.POSSESSIVE_REPEAT and [k for k, _ in argument[2] if k not in one]:
            found.append(argument)
        for part in argument if isinstance(argument, tuple) else [argument]:
            for subtree in part if isinstance(part, list) else [part]:
                if isinstance(subtree, sre_parser.SubPattern):
                    found += groups_kept(subtree)
    return found


@pytest.mark.parametrize(("name", "pattern"), PATTERNS, ids=[name for name, _ in PATTERNS])
def test_no_pattern_repeats_a_group_possessively(name: str, pattern: re.Pattern[bytes]) -> None:
    assert groups_kept(sre_parser.parse(pattern.pattern, pattern.flags)) == []


def test_groups_that_are_repeated_possessively_are_noticed() -> None:
    for text in (rb"(?:[ab]|cd)*+", rb"x(?:y(?:a[bc]|d)?+)"):
        assert groups_kept(sre_parser.parse(text))


def test_patterns_that_go_back_are_noticed() -> None:
    for text in (rb"a*b", rb"(?:a+)*+", rb"x(?:a|b[c]*?)", rb"(?=a*)", rb"(a|(b+))"):
        assert repeats(sre_parser.parse(text))
