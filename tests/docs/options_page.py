"""The page of the module's options: from what Nix says of them to Markdown."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.docs.markdown import REPOSITORY, anchor, code, field

Option = Mapping[str, Any]
"""name, type, required, default, example and description, as in NixOS's manual."""

_INTRODUCTION = f"""\
# Options

The options of the NixOS module, written from it by `python3 -m tests.docs.update_pages`. On other
hosts they are keys of the JSON file, at the place that each entry names; their types there are in
[`contract.schema.json`]({REPOSITORY}generator/contract.schema.json), and `devices` is empty unless
it is set.

`uid`, `subUidStart` and `tag` are required, and `model` and `port` of each model. What goes into
`services.llmhop.settings` has [a page of its own](settings.md).
"""

_ROOT = "services.llmhop."
_MODEL = f"{_ROOT}vllm.models.<name>."
# The name of a group, what its options begin with, and where they are in a JSON file: the
# definition in its schema, and the path.
_GROUPS = (
    ("The router", _ROOT, "Llmhop", "llmhop"),
    ("All models", f"{_ROOT}vllm.", "Vllm", "vllm"),
    ("One model", _MODEL, "Model", "vllm.models.<name>"),
)


def options_page(options: Iterable[Option], contract_schema: Mapping[str, Any]) -> str:
    """Write the page. The schema of the JSON file says which options that one has too."""
    # Those in it have a page of their own.
    own = [option for option in options if ".llmhop.settings." not in option["name"]]
    listed = sorted(own, key=lambda option: option["name"].lower())
    names = {option["name"] for option in listed}
    parts = [_INTRODUCTION]
    for title, prefix, definition, path in _GROUPS:
        parts.append(f"## {title}: {code(prefix.removesuffix('.'))}\n")
        members = [option for option in listed if _prefix_of(option["name"]) == prefix]
        # The switch comes first.
        members.sort(key=lambda option: option["name"] != f"{prefix}enable")
        keys = contract_schema["$defs"][definition]["properties"]
        for option in members:
            leaf = option["name"].removeprefix(prefix)
            place = f"{code(leaf)} in {code(path)}" if leaf in keys else "on NixOS only"
            parts.append(_entry(option, names, place))
    return "\n".join(parts)


def _prefix_of(name: str) -> str:
    return max((group[1] for group in _GROUPS if name.startswith(group[1])), key=len)


def _entry(option: Option, names: set[str], place: str) -> str:
    lines = [f"### {code(option['name'])}\n", f"{_linked(option['description'], names)}\n"]
    lines.append(f"- Type: {option['type']}")
    if option["required"]:
        lines.append("- Required")
    else:
        lines.append(field("Default", option["default"], "nix"))
    # That a switch can be set to true is no example.
    if option["example"] not in (None, "true"):
        lines.append(field("Example", option["example"], "nix"))
    lines.append(f"- In JSON: {place}")
    return "\n".join(lines) + "\n"


def _linked(description: str, names: set[str]) -> str:
    """A description with links, or code, in place of the manual's roles."""

    def replace(role: re.Match[str]) -> str:
        name = role[1]
        return f"[{code(name)}](#{anchor(name)})" if name in names else code(name)

    linked = re.sub(r"\{option\}`([^`]+)`", replace, description.strip())
    return re.sub(r"\{\w+\}(`[^`]+`)", r"\1", linked)
