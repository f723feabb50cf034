"""Contracts as the generator reads them, of the examples and of hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.fleet.hosts import Host
from llmhop_generator.parse.load import parse_config

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.json"))


def parse(config: Any) -> Config:
    return parse_config(json.dumps(config).encode(), "config.json")


def vllm_of(config: Any) -> Vllm:
    """Read the backend of a configuration, whose directories may be below /tmp as no host's may."""
    options = {**config["vllm"]}
    fields = {"dataDir": "data_dir", "cacheDir": "cache_dir"}
    given = {field: options.pop(key) for key, field in fields.items() if key in options}
    vllm = parse({**config, "vllm": options}).vllm
    assert isinstance(vllm, Vllm)
    return vllm.model_copy(update=given)


def host(name: str, settings: Any = None, /, **models: Any) -> Host:
    """Give a host that serves models, on consecutive ports unless they say otherwise."""
    numbered = enumerate(models.items(), 18001)
    contract = {
        "version": 1,
        "llmhop": {"settings": {"listen": ":8080"} if settings is None else settings},
        "vllm": {
            "enable": True,
            "uid": 503,
            "subUidStart": 300000,
            "tag": "v0.11.0",
            "models": {k: {"model": f"org/{k}", "port": port} | m for port, (k, m) in numbered},
        },
    }
    return Host(name, f"{name}.lan", contract, parse_config(json.dumps(contract).encode(), name))
