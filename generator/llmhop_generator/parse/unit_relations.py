"""Which units the models' keys name: their form, ties between models, and orders in a circle.

systemd breaks a circle by leaving one of its units out, and which one that is nobody can tell.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from llmhop_generator.contract.json_types import as_object
from llmhop_generator.contract.unit_keys import (
    TYING,
    is_unit_name,
    service_named,
    texts_of,
    units_named,
)
from llmhop_generator.errors import Finding, Path
from llmhop_generator.layout import MODELS_TARGET
from llmhop_generator.unit_names import service_of, source_file

Edges = dict[str, set[str]]

# What starts before what in a user's manager, by the units of systemd and ours: each has
# DefaultDependencies= (systemd.service(5), systemd.target(5), systemd.special(7)).
_OFF = re.compile("0|no?|f|false|off", re.IGNORECASE)
_EARLY = ("paths.target", "sockets.target", "timers.target")
_BASIC = "basic.target"
_DEFAULT = "default.target"
_SHUTDOWN = "shutdown.target"


def findings(
    vllm: Mapping[str, Any], models: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> Iterator[Finding]:
    """Find what is wrong with the units that models name.

    `models` are the enabled ones in their start order: by key, the name and the options of each.
    """
    general = as_object(vllm.get("unitConfig"))
    yield from _malformed(("vllm", "unitConfig"), general)
    services = {key: service_of(source_file(name)) for key, (name, _) in models.items()}
    ordered: list[tuple[Path, str, str, str]] = []
    for key, (_, model) in models.items():
        own = as_object(model.get("unitConfig"))
        path = ("vllm", "models", key, "unitConfig")
        yield from _malformed(path, own)
        for option, unit in units_named({**general, **own}):
            where = (*(path if option in own else ("vllm", "unitConfig")), option)
            other = service_named(unit)
            if option in TYING and other in services.values():
                yield Finding.at(where, _tie(other))
            elif option in ("After", "Before") and other != services[key]:
                first, then = (other, services[key])[:: 1 if option == "After" else -1]
                ordered.append((where, option, then, first))
    after = _implicit_order(vllm, services, models)
    for _, _, then, first in ordered:
        after[then].add(first)
    for where, option, then, first in ordered:
        if _waits(first, then, after):
            shown = f"{then} after {first}" if option == "After" else f"{first} before {then}"
            yield Finding.at(
                where,
                f"orders {shown}, which already waits for it or starts before it, and systemd "
                "would leave one of the two out; take that name out",
            )


def _malformed(path: Path, keys: Mapping[str, Any]) -> Iterator[Finding]:
    for key, name in units_named(keys):
        if not is_unit_name(name):
            yield Finding.at(
                (*path, key),
                f'has "{name}", which is no name of a unit, and systemd would pass over it; write '
                "it with its type, such as example.service",
            )


def _tie(other: str) -> str:
    return (
        f"ties this model to {other}, another model: each would stop or start with the other, also "
        "while `apply` replaces one and has the other serve; use After, which only orders"
    )


def _implicit_order(
    vllm: Mapping[str, Any],
    services: Mapping[str, str],
    models: Mapping[str, tuple[str, Mapping[str, Any]]],
) -> Edges:
    """What waits for what without any key of a deployer's."""
    after: Edges = defaultdict(set)
    after[_BASIC] |= {*_EARLY}
    after[_DEFAULT] |= {MODELS_TARGET, _BASIC}
    after[MODELS_TARGET] |= {*services.values()}
    before: list[str] = []
    for key, service in services.items():
        keys = {**as_object(vllm.get("unitConfig")), **as_object(models[key][1].get("unitConfig"))}
        if not _OFF.fullmatch("".join(texts_of(keys.get("DefaultDependencies", ""))[-1:])):
            after[service].add(_BASIC)
            after[_SHUTDOWN].add(service)
        if vllm.get("startupOrdering", True) is True:
            after[service] |= {*before}
        before.append(service)
    return after


def _waits(one: str, other: str, after: Mapping[str, set[str]]) -> bool:
    """Whether a unit starts after another one, whatever lies between."""
    seen: set[str] = set()
    left = [one]
    while left:
        unit = left.pop()
        if unit == other:
            return True
        if unit not in seen:
            seen.add(unit)
            left += after.get(unit, ())
    return False
