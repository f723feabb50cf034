"""The hosts of a flake, as they come out of its evaluation."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from llmhop_generator.contract.options import Config, Model, Vllm


@dataclass(frozen=True)
class Host:
    """A host with llmhop.

    `address` is the name under which others reach it. `contract` is what the module
    wrote, and `config` the same when it was checked.
    """

    name: str
    address: str
    contract: dict[str, Any]
    config: Config

    @property
    def vllm(self) -> Vllm | None:
        """The backend, where it is enabled."""
        return self.config.vllm if isinstance(self.config.vllm, Vllm) else None

    @property
    def models(self) -> Sequence[Model]:
        """The models that run on this host, by ascending port."""
        return self.vllm.enabled_models if self.vllm else []

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of this host's llmhop."""
        return self.config.llmhop.settings.model_dump(by_alias=True, exclude_unset=True)

    def aliases(self, model: str) -> list[str]:
        """The other names that clients of this host's llmhop may use for a model."""
        given = self.settings.get("models", {}).get(model, {}).get("aliases")
        return [a for a in given if isinstance(a, str)] if isinstance(given, list) else []

    @property
    def auth_tokens(self) -> list[str]:
        """The tokens of which clients of this host's llmhop send one, as they are written."""
        return self.config.llmhop.settings.auth_tokens or []

    @property
    def wants_token(self) -> bool:
        """Whether clients of this host's llmhop must send a token, theirs or one for all."""
        return bool(self.auth_tokens or self.config.llmhop.settings.clients)


@dataclass(frozen=True)
class Without:
    """A host that does not use llmhop."""

    name: str


@dataclass(frozen=True)
class Failed:
    """A host that can't be evaluated, or whose configuration is not right."""

    name: str
    error: str

    @property
    def cause(self) -> str:
        """The error in one line: Nix puts the cause last, below the way to it."""
        lines = [line.strip() for line in self.error.splitlines() if line.strip()]
        causes = [line for line in lines if re.match(r"error: *\S", line)]
        return causes[-1].removeprefix("error:").strip() if causes else "; ".join(lines)


Result = Host | Without | Failed

_Kind = TypeVar("_Kind", Host, Without, Failed)


def filter_by_type(results: Sequence[Result], kind: type[_Kind]) -> list[_Kind]:
    """Give the results of one kind, by the hosts' names."""
    return sorted((r for r in results if isinstance(r, kind)), key=lambda r: r.name)


def as_line(result: Result) -> str:
    """Write a result as one line of JSON."""
    shown: dict[str, Any] = {"host": result.name}
    match result:
        case Host(_, address, contract):
            shown |= {"address": address, "contract": contract}
        case Without():
            shown |= {"contract": None}
        case Failed(_, error):
            shown |= {"error": error}
    return json.dumps(shown, ensure_ascii=False)


def as_file(host: Host) -> str:
    """Write a host's contract as the other commands read it."""
    return json.dumps(host.contract, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
