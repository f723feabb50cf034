"""What follows from the declared keys: the parser, the JSON Schema, and what a reload changes.

The check of a config reports every finding at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llmhop.config.config import CONFIG, Config
from llmhop.config.findings import ConfigError
from llmhop.config.schema.checker import Checker, LoadTls
from llmhop.config.schema.table import Setting

SCHEMA_ID = "urn:llmhop:router-config"


def parse(data: object, resolve_secret: Callable[[str], str], load_tls: LoadTls) -> Config:
    """Check the JSON value of a config file and return the config.

    `resolve_secret` replaces the references in a string and raises SecretError. Raises
    ConfigError with every finding.
    """
    check = Checker(resolve_secret, load_tls)
    config = CONFIG.read(check, (), data)
    if config is None:
        raise ConfigError(check.findings)
    return config


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a config.

    What it can't say (secrets that resolve, names that collide, hosts that are hosts) is the
    parser's to check.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "llmhop config",
        **CONFIG.schema,
    }


def config_schema_text() -> str:
    """Return the JSON Schema as it is committed and printed."""
    return json.dumps(config_schema(), indent=2) + "\n"


def after_reload(old: Config, new: Config) -> tuple[Config, list[str]]:
    """Return `new` with what only a restart changes left as it was, and a note on each of it."""
    changed = {key: s.field for key, s in CONFIG.settings.items() if _waits(s, old, new)}
    kept = replace(new, **{name: getattr(old, name) for name in changed.values()})
    return kept, [f"{key} was changed: this takes effect after a restart" for key in changed]


def _waits(each: Setting, old: Config, new: Config) -> bool:
    """Whether a key differs in what is taken at a start alone."""
    before, after = getattr(old, each.field), getattr(new, each.field)
    if each.at_start == "presence":
        return (before is None) != (after is None)
    return each.at_start == "yes" and before != after
