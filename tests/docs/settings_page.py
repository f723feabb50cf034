"""The page of the router's settings: from its JSON Schema to Markdown."""

import json
from collections.abc import Mapping
from typing import Any

from tests.docs.markdown import REPOSITORY, code

Schema = Mapping[str, Any]

_MANY = 10
"""A type of more values than these is a string here; the description says of which."""

_INTRODUCTION = f"""\
# Settings of the router

What `services.llmhop.settings` may hold, `llmhop.settings` in a JSON file, and the file that
`llmhop --config FILE` reads where llmhop runs by itself. Written from the router's JSON Schema
(`llmhop --schema`, [`config.schema.json`]({REPOSITORY}router/config.schema.json)) by
`python3 -m tests.docs.update_pages`. `null` stands for a key that is not given.

The models that vLLM serves here are added by themselves. An entry in `models` with `url` or `urls`
is a model that runs elsewhere; one without adds headers, aliases or limits to a model that is
served here. `listen` stands in place of `host` and `port`.

Secrets are written `${{env:NAME}}` for a variable or `${{file:PATH}}` for a file, in tokens and
headers; a relative path is that of a credential which systemd loads (`LoadCredential=`). Such a
file, a certificate, and the configuration at a reload must be regular files: a FIFO that nobody
writes would have llmhop wait. In Nix the dollar sign is escaped: `"\\${{file:client-token}}"`.

`llmhop --config FILE --check` reads the file, its secrets and its certificates, and starts nothing.
Each problem is a line on standard error, and the exit code is 1; `--json` prints them for programs,
and `--without-secrets` is for whoever can't read those. Of a good configuration it may note on
standard error what is probably not meant, and the exit code is 0: a `url` that leads to another
model of an llmhop (`/route/OTHER`).
"""


_AT_START = {
    "yes": "- A change takes effect at a restart",
    "presence": "- Given or not: a change takes effect at a restart",
}


def settings_page(schema: Schema, at_start: Mapping[str, str]) -> str:
    """Write the page from the schema of the router's configuration.

    `at_start` says of each key at the top whether it is taken at a start alone.
    """
    notes = {key: _AT_START[when] for key, when in at_start.items() if when in _AT_START}
    return "\n".join([_INTRODUCTION, *_entries(schema, "", notes)])


def _entries(schema: Schema, prefix: str, notes: Mapping[str, str]) -> list[str]:
    parts: list[str] = []
    nested: list[str] = []
    for key, value in sorted(schema["properties"].items(), key=lambda item: item[0].lower()):
        required = key in schema["required"]
        parts.append(_entry(prefix, key, value, notes.get(key), required=required))
        # The keys of an object follow those beside it.
        if "properties" in value:
            nested += _entries(value, f"{prefix}{key}.", {})
        elif "properties" in _dict(value.get("additionalProperties")):
            nested += _entries(value["additionalProperties"], f"{prefix}{key}.<name>.", {})
    return parts + nested


def _entry(prefix: str, key: str, schema: Schema, note: str | None, *, required: bool) -> str:
    place = f"services.llmhop.settings.{prefix}".removesuffix(".")
    lines = [f"## {code(prefix + key)}\n", f"{schema['description']}\n", f"- Type: {_type(schema)}"]
    if required:
        lines.append("- Required" if prefix else "- Required where llmhop runs by itself")
    elif "default" in schema:
        lines.append(f"- Default: {_value(schema['default'])}")
    examples = schema.get("examples") or _alternatives(schema)[0].get("examples", [])
    if examples:
        lines.append(f"- Examples: {', '.join(map(_value, examples))}")
    if note is not None:
        lines.append(note)
    lines.append(f"- On NixOS: {code(key)} in {code(place)}")
    return "\n".join(lines) + "\n"


def _type(schema: Schema) -> str:
    """The type in words. That null is allowed everywhere is said once, at the top."""
    if len(schema.get("enum", ())) > _MANY:
        return "string"
    if "enum" in schema:
        return f"one of {', '.join(_value(v) for v in schema['enum'] if v is not None)}"
    return " or ".join(_plain_type(alternative) for alternative in _alternatives(schema))


def _alternatives(schema: Schema) -> list[Schema]:
    return [one for one in schema.get("anyOf", [schema]) if one["type"] != "null"]


def _plain_type(schema: Schema) -> str:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    (kind,) = [name for name in types if name != "null"]
    if kind == "array":
        return f"list of {_type(schema['items'])}s{_size(schema, 'Items')}"
    if kind == "object":
        values = _dict(schema.get("additionalProperties")).get("type")
        return f"object of {values}s" if values else "object"
    return f"{kind}{_range(schema)}"


def _range(schema: Schema) -> str:
    """The bounds of a number; those that are only there to be sane are left out."""
    low = schema.get("minimum")
    high = schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']}, at most {high}"
    if low is None:
        return ""
    return f" from {low}" + ("" if high is None else f" to {high}")


def _size(schema: Schema, unit: str) -> str:
    low, high = schema.get(f"min{unit}"), schema.get(f"max{unit}")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return "" if low is None else f", at least {low}"


def _value(value: object) -> str:
    return code(json.dumps(value))


def _dict(value: object) -> Schema:
    return value if isinstance(value, dict) else {}
