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
    vllm = parse(config).vllm
    assert isinstance(vllm, Vllm)
    return vllm


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
