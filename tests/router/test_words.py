"""What code and documentation say of each other is so."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from llmhop.limits import CLIENT_DESCRIPTORS, SPARE_DESCRIPTORS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "router/llmhop"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
    for path in PACKAGE.rglob("*.py")
}
OPERATIONS = (ROOT / "docs/operations.md").read_text()
CLIENTS = (ROOT / "docs/clients.md").read_text()


def claims() -> Iterator[tuple[str, str, str]]:
    """Module, class, and what its docstring says that it implements."""
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            text = ast.get_docstring(node) if isinstance(node, ast.ClassDef) else None
            if isinstance(node, ast.ClassDef) and text is not None:
                for name in re.findall(r"Implements ([\w.]+\w)", text):
                    yield module, node.name, name


def class_of(module: str, name: str) -> ast.ClassDef | None:
    """The class as it is written in a module."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    return None


def members(tree: ast.ClassDef) -> set[str]:
    """The public names that a class gives its instances."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            for target in (part for each in targets for part in ast.walk(each)):
                if isinstance(target, ast.Attribute):
                    found.add(target.attr)
                elif isinstance(target, ast.Name) and node in tree.body:
                    found.add(target.id)
    return {name for name in found if not name.startswith("_")}


def all_members(cls: type) -> set[str]:
    """Those of a class and of all above it."""
    found: set[str] = set()
    for base in cls.__mro__:
        package, _, module = base.__module__.partition(".")
        tree = class_of(module, base.__name__) if package == "llmhop" else None
        found |= members(tree) if tree is not None else set()
    return found


def test_some_class_says_what_it_implements() -> None:
    assert len(list(claims())) > 8


@pytest.mark.parametrize(("module", "name", "claimed"), list(claims()))
def test_a_class_implements_what_it_says(module: str, name: str, claimed: str) -> None:
    where, _, protocol_name = claimed.rpartition(".")
    protocol = class_of(where or module, protocol_name)
    assert protocol is not None
    wanted = members(protocol)
    assert wanted
    assert not wanted - all_members(getattr(importlib.import_module(f"llmhop.{module}"), name))


def struct_options() -> Iterator[tuple[str, str, str, object]]:
    """Module, class, name and value of each option that a statement gives a msgspec.Struct."""
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and "msgspec.Struct" in map(ast.unparse, node.bases):
                for option in node.keywords:
                    yield module, node.name, str(option.arg), ast.literal_eval(option.value)


def test_a_struct_has_the_options_that_its_statement_gives_it() -> None:
    """Also where it is compiled: mypyc drops them."""
    options = list(struct_options())
    assert len(options) > 20
    dropped = []
    for module, name, option, value in options:
        struct = getattr(importlib.import_module(f"llmhop.{module}"), name)
        # msgspec does not tell of kw_only, and of a tag what it is.
        if bool(getattr(struct.__struct_config__, option, value)) != value:
            dropped.append(f"{module}.{name}: {option}")
    assert dropped == []


def words(arguments: list[ast.expr], index: int) -> set[str]:
    """The string constants in an argument, alternatives included."""
    if index >= len(arguments):
        return set()
    return {
        node.value
        for node in ast.walk(arguments[index])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


ENDS = {"end": 1, "exchange_broken": 0, "write_response": 2, "let_go": 0}
"""Methods that are told how a request ended, and the place of that among their arguments."""


@cache
def ends() -> frozenset[str]:
    """Each end that a request can have, but for codes of errors."""
    found: set[str] = set()
    for tree in MODULES.values():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                found |= words(call.args, ENDS.get(call.func.attr, 99))
    return frozenset(found)


@cache
def codes() -> frozenset[str]:
    """The code of each error."""
    found: set[str] = set()
    for tree in MODULES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "code":
                found |= words([node.value], 0)
            if isinstance(node, ast.arguments):
                defaults = zip(reversed(node.args), reversed(node.defaults), strict=False)
                for argument, default in defaults:
                    if argument.arg == "code":
                        found |= words([default], 0)
    return frozenset(found)


def entry_words() -> str:
    """What is said of an entry of the access log."""
    tree = class_of("observe.log_entry", "Entry")
    return (tree and ast.get_docstring(tree)) or ""


def test_each_end_of_a_request_is_documented() -> None:
    found = ends()
    assert {"complete", "client_left", "shutting_down", "backend_broke", "refused"} <= found
    section = OPERATIONS.partition("## Access log")[2].partition("\n## ")[0]
    docstring = entry_words()
    for end in found - codes() | {"shutting_down"}:
        assert f"`{end}`" in section
        assert f"`{end}`" in docstring


def test_nothing_is_documented_that_no_request_ends_with() -> None:
    told = re.search(r"how it ended: (.*?)\.", OPERATIONS, re.S)
    docstring = entry_words()
    assert told is not None
    named = set(re.findall(r"`(\w+)`", told[1])) | set(re.findall(r"`(\w+)`", docstring)) - {"end"}
    assert named <= ends() | codes()


def test_the_code_of_each_error_is_documented() -> None:
    found = codes()
    assert len(found) > 14
    section = CLIENTS.partition("## Errors")[2].partition("\n## ")[0]
    assert {code for code in found if f"`{code}`" not in section} == set()


TEXTS = [
    path
    for pattern in ("docs/*.md", "*.md", "router/**/*.py", "module/**/*.nix", "generator/**/*.py")
    for path in sorted(ROOT.glob(pattern))
]


def named_ends(text: str) -> set[str]:
    """What a text names as an end of requests: no attribute or call in code that passes one on."""
    return set(re.findall(r"\bend=([a-z_]+)\b(?!\.\w|\()", text))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("is logged as end=broken.", {"broken"}),
        ("`end=refused`, and end=client_left (499)", {"refused", "client_left"}),
        ("Entry(end=request.end)", set()),
        ("Entry(end=as_told(request))", set()),
        ("backend=local", set()),
    ],
)
def test_a_text_names_an_end_and_code_does_not(text: str, named: set[str]) -> None:
    assert named_ends(text) == named


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_end_is_named_only_as_it_is(path: Path) -> None:
    assert named_ends(path.read_text(encoding="utf-8")) <= ends() | codes()


def test_the_manual_has_the_descriptors_that_are_counted() -> None:
    assert CLIENT_DESCRIPTORS == 2
    told = f"keeps {SPARE_DESCRIPTORS} file descriptors of its own, and each client may need two."
    assert told in OPERATIONS
