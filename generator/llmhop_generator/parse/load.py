"""Reads a configuration: from bytes to a `Config`, or to every problem in it at once."""

import json
from collections.abc import Collection, Iterator, Set
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from llmhop_generator.contract.options import Config, Llmhop, Model, Vllm
from llmhop_generator.errors import Finding, GeneratorError, Path
from llmhop_generator.parse.config_input import read_input, refuse
from llmhop_generator.parse.json_text import read_json
from llmhop_generator.parse.rules import rule_findings
from llmhop_generator.router.check import Judge, no_judge
from llmhop_generator.router.settings import settings_to_judge

_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
}
_SHOWN = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}


def read_config(path: str, judge: Judge) -> Config:
    """Read and check the configuration in a file, or on standard input for `-`.

    Raises:
        GeneratorError: the file can't be read, or the configuration is not right.
    """
    return parse_config(read_input(path), path, judge)


def parse_config(data: bytes, label: str, judge: Judge = no_judge) -> Config:
    """Check a configuration, and have the settings of llmhop judged.

    `label` is the name that messages give it.

    Raises:
        GeneratorError: with every problem of the configuration.
    """
    raw, doubts = _parse_json(data, label)
    found: set[Finding] = set()
    config = None
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        found.update(
            _explain(detail)
            for detail in error.errors()
            if detail["type"] != "default_factory_not_called"
        )
    except RecursionError:
        raise refuse(label, "is nested too deeply to be read; flatten it") from None
    found.update(rule_findings(raw))
    found.update(_judged(raw, judge, {each.path for each in found}))
    doubted = {each.path for each in doubts}
    found = {each for each in found if not _below(each.path, doubted)} | set(doubts)
    if config is None or found:
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        raise GeneratorError(f"{label}: {count}", sorted(found))
    return config


def _judged(raw: Any, judge: Judge, told: Collection[Path]) -> Iterator[Finding]:
    """What llmhop finds in its settings, but for places of which something is `told` already."""
    settings = settings_to_judge(raw)
    for found in judge(settings) if settings is not None else ():
        path = found.path
        if not any(path[: len(other)] == other[: len(path)] for other in told):
            yield found


def _below(path: Path, places: Set[Path]) -> bool:
    """Whether a path is one of some places, or leads into one."""
    return any(path[:count] in places for count in range(len(path) + 1))


def _parse_json(data: bytes, label: str) -> tuple[Any, list[Finding]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(label, f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    if not text.strip():
        raise refuse(label, 'is empty; the smallest configuration is {"version": 1}')
    try:
        return read_json(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise refuse(label, f"is not JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise refuse(label, "is nested too deeply to be read; flatten it") from None


def _explain(detail: ErrorDetails) -> Finding:
    """Put one of pydantic's findings in the words of whoever wrote the configuration."""
    path = _path(detail["loc"])
    return Finding.at(path, _message(path, detail))


def _message(path: Path, detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "missing":
        return f"is required and not set; set it{_example(path)}"
    if kind == "extra_forbidden":
        return f"is not an option{_suggestion(path)}"
    if kind in _TYPES:
        # Of a number it is the fraction that is wrong.
        shown = _show(value) if isinstance(value, float) else _kind_of(value)
        return f"must be {_TYPES[kind]}, not {shown}"
    if kind == "literal_error":
        expected = "true or false" if path[-1] == "enable" else str(context["expected"])
        return f"must be {expected}, not {_show(value)}"
    if kind in ("greater_than_equal", "greater_than", "less_than_equal"):
        bound = {
            "greater_than_equal": "at least {ge}",
            "greater_than": "more than {gt}",
            "less_than_equal": "at most {le}",
        }[kind].format(**context)
        return f"must be {bound}, not {_show(value)}"
    if kind in ("string_too_long", "too_long"):
        return f"is longer than {context['max_length']} characters; shorten it"
    if kind == "string_unicode":
        return "has half of a surrogate pair, which is no character; remove it"
    if kind == "value_error":
        return str(context["error"])
    return detail["msg"]


def _path(location: Path) -> Path:
    """Pydantic's location without its own marks: union tags and `[key]`."""
    path = list(location)
    if len(path) > 1 and path[-1] == "[key]":
        path.pop()
    if path[:1] == ["vllm"] and path[1:2] in (["enabled"], ["disabled"]):
        del path[1]
    if path[:3] == ["llmhop", "settings", "listen"] and path[3:4] in (["one"], ["several"]):
        del path[3]
    return tuple(path)


def _options_at(path: Path) -> type[BaseModel] | None:
    """The model whose fields stand at `path`, as far as the contract knows them."""
    match path:
        case ():
            return Config
        case ("vllm",):
            return Vllm
        case ("vllm", "models", _):
            return Model
        case ("llmhop",):
            return Llmhop
    return None


def _example(path: Path) -> str:
    options = _options_at(path[:-1])
    if options is None:
        return ""
    for field in options.model_fields.values():
        if field.alias == path[-1] and field.examples:
            return f", for example {json.dumps(field.examples[0])}"
    return ""


def _suggestion(path: Path) -> str:
    options = _options_at(path[:-1])
    if options is None:
        return "; remove it"
    names = [str(field.alias) for field in options.model_fields.values()]
    close = get_close_matches(str(path[-1]), names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else "; remove it"


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    return _SHOWN.get(type(value), "an object")


def _show(value: object) -> str:
    if isinstance(value, (str, int, float, bool)) or value is None:
        shown = json.dumps(value)
        return shown if len(shown) <= 60 else shown[:57] + "…"
    return _kind_of(value)
