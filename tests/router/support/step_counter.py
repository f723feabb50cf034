"""Counts the steps that pure modules of the router take, those of built-in types included.

The modules are loaded a second time, from their source, with each call, loop, slice, comparison
and sum counted by the bytes or items that it may look at or copy. So the count is the same on every
machine and in every run, and sees what a trace of Python's lines does not: that a set is copied in
each round of a loop, or a list searched.
"""

from __future__ import annotations

import ast
import operator
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import llmhop

MODULES = (
    *(f"http.fields.{name}" for name in ("via", "known_fields", "forwarding")),
    *("http.fields.upgrade", "http.fields.media_type"),
    *("http.head", "http.head_cache"),
    *(f"http.body.{name}" for name in ("json_scanner", "large_body", "chunked", "multipart")),
    *("http.request_reader", "http.response_reader", "http.body.urlencoded", "routing.target"),
)
"""What is counted, each after what it imports of them."""

_PACKAGE = "counted_llmhop"
_SIZED = (bytes, bytearray, str, list, tuple, set, frozenset, dict)
_SEARCHED = (bytes, bytearray, str, list, tuple)
_GROWING = (list, bytearray, set)
# Of these only the arguments are looked at, not what they are methods of.
_OF_ARGUMENTS = {"append", "add", "get", "startswith", "endswith", "extend", "__init__", "join"}
_FREE = {"len", "isinstance", "min", "max", "memoryview", "clear", "release", "end", "start"}


class StepCounter:
    """What the modules call in place of what stands in their source. `steps` is the count."""

    def __init__(self) -> None:
        self.steps = 0

    def call(self, function: Any, *arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        self.steps += 1 + self._size_of_call(function, arguments, result)
        return result

    def _size_of_call(self, function: Any, arguments: tuple[Any, ...], result: Any) -> int:
        name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        if name in _FREE or hasattr(function, "__code__"):  # counted within
            return 0
        if isinstance(owner, re.Pattern) and name == "sub":  # what it replaces, then where
            return _size(arguments[1]) + _size(result)
        if isinstance(owner, re.Pattern):
            start, stop = _bounds(arguments, len(arguments[0]))
            # No repeat gives anything back, so a pattern looks at a byte once.
            match_only = name in ("match", "fullmatch") and result is not None
            return max(0, int(result.end() if match_only else stop) - start)
        if name == "find":
            start, stop = _bounds(arguments, _size(owner))
            return max(0, int(result if result >= 0 else stop) - start) + _size(arguments[0])
        sizes = sum(map(_size, arguments)) + _size(result)
        return sizes if name in _OF_ARGUMENTS else sizes + _size(owner)

    def binary(self, name: str, left: Any, right: Any) -> Any:
        result = getattr(operator, name)(left, right)
        self.steps += 1 + _size(result)
        if isinstance(left, set | frozenset):
            self.steps += len(left) + len(right)
        return result

    def augmented(self, name: str, left: Any, right: Any) -> Any:
        grows = isinstance(left, _GROWING)
        result = getattr(operator, f"i{name.strip('_')}")(left, right)
        self.steps += 1 + _size(right if grows else result)
        return result

    def contains(self, item: Any, container: Any) -> bool:
        self.steps += 1 + _size(container if isinstance(container, _SEARCHED) else item)
        return item in container

    def equal(self, left: Any, right: Any) -> bool:
        self.steps += 1 + min(_size(left), _size(right))
        return bool(left == right)

    def sliced(self, value: Any, part: slice) -> Any:
        result = value[part]
        self.steps += 1 + _size(result)
        return result

    def each(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.steps += 1
            yield item

    def turn(self) -> None:
        self.steps += 1


def _bounds(arguments: tuple[Any, ...], length: int) -> tuple[int, int]:
    """Return where a search begins and ends, which may be left out behind its first argument."""
    start = arguments[1] if len(arguments) > 1 else 0
    return start, min(length, arguments[2] if len(arguments) > 2 else length)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, _SIZED) else 0


_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Mod: "mod",
    ast.BitOr: "or_",
}


class _Counting(ast.NodeTransformer):
    def _counted(self, method: str, *arguments: ast.expr) -> ast.Call:
        counter = ast.Attribute(ast.Name("step_counter", ast.Load()), method, ast.Load())
        return ast.Call(counter, list(arguments), [])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        package, _, module = (node.module or "").partition(".")
        if package == "llmhop" and module in MODULES:
            node.module = f"{_PACKAGE}.{module}"
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.value = self.visit(node.value) if node.value else None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in ("super", "TypeVar", "Final"):
            return node
        call = self._counted("call", node.func, *node.args)
        call.keywords = node.keywords
        return call

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        name = _OPERATORS.get(type(node.op))
        return self._counted("binary", ast.Constant(name), node.left, node.right) if name else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        loaded = ast.parse(ast.unparse(node.target), mode="eval").body
        name = ast.Constant(_OPERATORS[type(node.op)])
        return ast.Assign([node.target], self._counted("augmented", name, loaded, node.value))

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) > 1:
            return node
        (kind,), (right,) = node.ops, node.comparators
        if isinstance(kind, ast.In | ast.NotIn):
            found = self._counted("contains", node.left, right)
        elif isinstance(kind, ast.Eq | ast.NotEq):
            found = self._counted("equal", node.left, right)
        else:
            return node
        return ast.UnaryOp(ast.Not(), found) if isinstance(kind, ast.NotIn | ast.NotEq) else found

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or not isinstance(node.slice, ast.Slice):
            return node
        bounds = (node.slice.lower, node.slice.upper, node.slice.step)
        part = ast.Call(
            ast.Name("slice", ast.Load()), [bound or ast.Constant(None) for bound in bounds], []
        )
        return self._counted("sliced", node.value, part)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.iter = self._counted("each", node.iter)
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.iter = self._counted("each", node.iter)
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, ast.Expr(self._counted("turn")))
        return node


def count_in(source: str, name: str, counter: StepCounter) -> ModuleType:
    """Run a module's source with its steps counted."""
    tree = ast.fix_missing_locations(_Counting().visit(ast.parse(source)))
    module = ModuleType(name)
    module.__dict__["step_counter"] = counter
    sys.modules[name] = module
    exec(compile(tree, name, "exec"), module.__dict__)  # noqa: S102 - of the router's own source
    return module


def load(counter: StepCounter) -> dict[str, ModuleType]:
    """Load the modules anew, so that they count their steps."""
    sys.modules[_PACKAGE] = ModuleType(_PACKAGE)
    directory = Path(llmhop.__file__).parent
    return {
        name: count_in(
            (directory / name.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8"),
            f"{_PACKAGE}.{name}",
            counter,
        )
        for name in MODULES
    }
