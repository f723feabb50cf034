"""What differs between two evaluations of a flake, option by option."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from llmhop_generator.errors import Path, option_path
from llmhop_generator.fleet.hosts import Failed, Host, Result, Without

# What stands below these keys may be a secret, so only that it differs is told.
_SECRET = frozenset({"environment", "Environment", "headers", "authTokens", "token", "tokens"})
_MISSING = object()


def as_text(old: Sequence[Result], new: Sequence[Result]) -> str:
    """Write what differs from one evaluation to the other, host by host."""
    before, after = ({r.name: r for r in results} for results in (old, new))
    lines: list[str] = []
    for name in sorted({*before, *after}):
        lines += _host_differences(name, before.get(name), after.get(name))
    return "\n".join(lines) or "no difference"


def _host_differences(name: str, old: Result | None, new: Result | None) -> Iterator[str]:
    match old, new:
        case Failed(), _:
            yield f"{name}: can't be compared, it fails in the old revision: {old.cause}"
        case _, Failed():
            yield f"{name}: can't be compared, it fails in the new revision: {new.cause}"
        case Host(), Host():
            found = list(differences((), old.contract, new.contract))
            if old.address != new.address:
                found.append(f"address: {old.address} -> {new.address}")
            if found:
                yield f"{name}:"
            yield from (f"  {line}" for line in found)
        case ((None | Without()), Host()):
            yield f"{name}: added, with {_models(new)}"
        case Host(), (None | Without()):
            yield f"{name}: removed, with {_models(old)}"


def differences(path: Path, old: Any, new: Any) -> Iterator[str]:
    """Name each option that differs between two contracts, with both values.

    Objects are gone into; a list is one value.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences((*path, key), old.get(key, _MISSING), new.get(key, _MISSING))
    elif old != new or type(old) is not type(new):
        yield f"{option_path(path)}: {_change(path, old, new)}"


def _change(path: Path, old: Any, new: Any) -> str:
    if old is _MISSING:
        return "added" + _value(path, new, " as ")
    if new is _MISSING:
        return "removed" + _value(path, old, ", was ")
    if _SECRET.intersection(path):
        return "changed"
    return f"{_as_json(old)} -> {_as_json(new)}"


def _value(path: Path, value: Any, before: str) -> str:
    """A single value; a whole object would hide the option it stands for."""
    if isinstance(value, dict) or _SECRET.intersection(path):
        return ""
    return before + _as_json(value)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _models(host: Host) -> str:
    return ", ".join(model.name for model in host.models) or "no model"
