"""One check of a config that finds every problem at once, and the JSON Schema of what passes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from llmhop.config.config import CONFIG, Config
from llmhop.config.problems import ConfigError
from llmhop.config.schema.checker import Checker, LoadTls

SCHEMA_ID = "urn:llmhop:router-config"


def parse(data: object, resolve_secret: Callable[[str], str], load_tls: LoadTls) -> Config:
    """Check the JSON value of a config file and return the config.

    `resolve_secret` replaces the references in a string and raises SecretError. Raises
    ConfigError with every problem found.
    """
    check = Checker(resolve_secret, load_tls)
    config = CONFIG.read(check, (), data)
    if config is None:
        raise ConfigError(check.problems)
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
