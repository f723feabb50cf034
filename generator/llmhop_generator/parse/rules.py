"""Checks that need more than one field, or know more than a type.

They read the raw JSON rather than the models, so that they find what they can
also where another part of the configuration is wrong: all problems show at once.
What has the wrong type is passed over; the models report it.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from llmhop_generator.contract import container_paths, flags, unit_keys
from llmhop_generator.contract.json_types import as_object, whole
from llmhop_generator.contract.keys.mounts import DEVICE, is_device
from llmhop_generator.contract.keys.own import own_lines
from llmhop_generator.contract.listen import loopback_ports
from llmhop_generator.contract.options import MAX_ID, Vllm
from llmhop_generator.errors import Finding, Path, option_path
from llmhop_generator.layout import HOST, ROUTER_USER
from llmhop_generator.parse import directories, unit_relations
from llmhop_generator.router.settings import ROUTES, has_route
from llmhop_generator.unit_names import container_of

_SECRETS: frozenset[str] = frozenset(HOST["secret_variables"])


def rule_findings(raw: Any) -> Iterator[Finding]:
    """Give every problem that the types alone do not show."""
    config = as_object(raw)
    vllm, llmhop = as_object(config.get("vllm")), as_object(config.get("llmhop"))
    settings = as_object(llmhop.get("settings"))
    yield from _enable(vllm, llmhop)
    served = vllm.get("enable") is True
    if served:
        yield from _user(vllm)
        yield from _ids(vllm)
        yield from _backend(vllm)
        yield from _ports(vllm, llmhop)
        yield from _names(vllm, settings)
    if llmhop.get("enable", served) is True:
        yield from _routes(vllm, settings)


def _enable(vllm: dict[str, Any], llmhop: dict[str, Any]) -> Iterator[Finding]:
    """Find what is configured and not said to run: `apply` would remove what does."""
    if vllm and "enable" not in vllm:
        yield Finding.at(
            ("vllm", "enable"),
            "is not set, and nothing here would be served; write true to serve, or false",
        )
    elif llmhop and "enable" not in llmhop and vllm.get("enable") is not True:
        yield Finding.at(
            ("llmhop", "enable"),
            "is not set, and without vLLM llmhop would not run; write true to run it, or false",
        )


def _number(value: Any) -> int | None:
    value = whole(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _enabled(vllm: dict[str, Any]) -> dict[str, dict[str, Any]]:
    models = as_object(vllm.get("models"))
    return {
        k: m for k, m in models.items() if isinstance(m, dict) and m.get("enable", True) is True
    }


def _ids(vllm: dict[str, Any]) -> Iterator[Finding]:
    uid = _number(vllm.get("uid"))
    gid = _number(vllm.get("gid", uid))
    starts = {"subUidStart": _number(vllm.get("subUidStart"))}
    counts = {"subUidCount": _number(vllm.get("subUidCount", 65536))}
    starts["subGidStart"] = _number(vllm.get("subGidStart", starts["subUidStart"]))
    counts["subGidCount"] = _number(vllm.get("subGidCount", counts["subUidCount"]))
    follows = {"uid": True, "gid": "gid" in vllm, "subUidStart": True}
    follows["subGidStart"] = "subGidStart" in vllm or "subGidCount" in vllm or "gid" in vllm
    user, group = _names_of(vllm)
    for key, number, name in (("uid", uid, user), ("gid", gid, group)):
        if number == 0 and follows[key] and name != "root":
            yield Finding.at(
                ("vllm", key),
                "must not be 0: the containers are rootless; give a system user's id",
            )
        given = _overlap(number, number, HOST["given_ids"]) if follows[key] else None
        if given is not None:
            yield Finding.at(("vllm", key), f"{number} is {given}; give a system user's id")
    for kind, own in (("Uid", uid), ("Gid", gid)):
        start, count = starts[f"sub{kind}Start"], counts[f"sub{kind}Count"]
        path = ("vllm", f"sub{kind}Start")
        if start is None or count is None or count < 1 or not follows[path[1]]:
            continue
        needed = HOST["system_ids"]["last"]
        counted = f"sub{kind}Count"
        if count < needed and (kind == "Uid" or counted in vllm):
            yield Finding.at(
                ("vllm", counted),
                f"is {count}, but a container needs ids 1 to {needed} for the system users of its "
                "image; leave it out for 65536",
            )
        last = start + count - 1
        shown = f"the range {start} to {last}"
        if last > MAX_ID:
            yield Finding.at(path, f"{shown} ends above {MAX_ID}, the highest id; start lower")
        elif own is not None and start <= own <= last:
            yield Finding.at(
                path, f"{shown} contains {kind.lower()} {own} of the user itself; start higher"
            )
        elif given := _overlap(start, last, [HOST["system_ids"], *HOST["given_ids"]]):
            yield Finding.at(path, f"{shown} is {given}; start higher, for example at 300000")


def _overlap(first: int | None, last: int | None, ranges: list[dict[str, Any]]) -> str | None:
    """Say whose some ids are by a host's own ranges; None where they are in none."""
    if first is None or last is None or first < 0:
        return None
    for given in ranges:
        if given["first"] <= last and first <= given["last"]:
            among = f"among {given['first']} to {given['last']}"
            return f"{among}, the ids that are given to {given['to']}"
    return None


_WHOSE = {
    "root": "and the containers are rootless",
    ROUTER_USER: "which is llmhop's own and reads its secrets",
}


def _names_of(vllm: dict[str, Any]) -> tuple[Any, Any]:
    user = vllm.get("user", "vllm")
    # The group follows the user where it is not set.
    return user, vllm.get("group", user)


def _user(vllm: dict[str, Any]) -> Iterator[Finding]:
    """Find a user or group that has files of its own, which no container may read."""
    user, group = _names_of(vllm)
    for key, name in (("user", user), ("group", group)):
        if isinstance(name, str) and name in _WHOSE and (key == "user" or name != user):
            yield Finding.at(
                ("vllm", key),
                f"is {name}, {_WHOSE[name]}; leave it out, or name one that is for the models "
                "alone",
            )


def _backend(vllm: dict[str, Any]) -> Iterator[Finding]:
    yield from _flags(("vllm", "modelSettings"), vllm.get("modelSettings"))
    yield from _environment(("vllm", "environment"), vllm.get("environment"))
    yield from _unit_keys(("vllm",), vllm)
    yield from directories.findings(vllm)
    yield from container_paths.findings(vllm)
    yield from unit_relations.findings(vllm, _in_start_order(vllm))
    for index, device in enumerate(_list(vllm.get("devices"))):
        yield from _device(("vllm", "devices", index), device)
    yield from _images(vllm)
    for key, model in as_object(vllm.get("models")).items():
        if not isinstance(model, dict):
            continue
        path = ("vllm", "models", key)
        yield from _flags((*path, "settings"), model.get("settings"))
        yield from _environment((*path, "environment"), model.get("environment"))
        yield from _unit_keys(path, model)
        yield from _conflicts(path, vllm, model)
        for index, device in enumerate(_list(model.get("devices"))):
            yield from _device((*path, "devices", index), device)


def _images(vllm: dict[str, Any]) -> Iterator[Finding]:
    untagged = None
    for key, model in _enabled(vllm).items():
        tag, digest = model.get("tag"), model.get("digest")
        if isinstance(tag, str) and isinstance(digest, str):
            yield Finding.at(
                ("vllm", "models", key, "tag"), "excludes `digest`; set one of the two"
            )
        elif tag is None and digest is None:
            untagged = untagged or key
    if untagged is not None and vllm.get("tag") is None:
        model_path = option_path(("vllm", "models", untagged))
        yield Finding.at(
            ("vllm", "tag"),
            f"is required and not set, as {model_path} has neither tag nor digest; set it, "
            'for example "v0.11.0"',
        )


def _in_start_order(vllm: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """The enabled models by ascending port, as far as they can be told: their keys and names."""
    models = sorted(_enabled(vllm).items(), key=lambda each: _number(each[1].get("port")) or 0)
    named = {key: (_name(key, model), model) for key, model in models}
    return {key: (name, model) for key, (name, model) in named.items() if name is not None}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _flags(path: Path, settings: Any) -> Iterator[Finding]:
    yield from flags.findings(path, as_object(settings))


def _environment(path: Path, environment: Any) -> Iterator[Finding]:
    for key in as_object(environment):
        if key in _SECRETS:
            yield Finding.at(
                (*path, key),
                "is a secret and would be seen in the unit; set it in environmentFile",
            )


def _unit_keys(path: Path, options: dict[str, Any]) -> Iterator[Finding]:
    for option in unit_keys.SECTIONS:
        keys = as_object(options.get(option))
        yield from unit_keys.findings((*path, option), option, keys)
        for key, name in sorted(
            {each for each in unit_keys.variables(keys) if each[1] in _SECRETS}
        ):
            yield Finding.at(
                (*path, option, key),
                f"sets {name}, a secret that would be seen in the unit; set it in environmentFile",
            )


def _conflicts(path: Path, vllm: dict[str, Any], model: dict[str, Any]) -> Iterator[Finding]:
    general, own = (as_object(each.get("containerConfig")) for each in (vllm, model))
    cache_dir = vllm.get("cacheDir", Vllm.model_fields["cache_dir"].default)
    ours = own_lines(container_of(str(_name(str(path[-1]), model))), str(cache_dir))
    for key, what in unit_keys.conflicts(ours, general, own):
        yield Finding.at((*(path if key in own else ("vllm",)), "containerConfig", key), what)


def _device(path: Path, device: Any) -> Iterator[Finding]:
    if not isinstance(device, str):
        return
    if not device.lstrip("-").strip():
        yield Finding.at(path, "is empty; name a CDI device or a path, or leave it out")
    elif '"' in device and "'" in device:
        yield Finding.at(
            path, "has both kinds of quotes, which AddDevice= can't hold; rename the device"
        )
    elif not is_device(device):
        yield Finding.at(path, f"must not be {device!r}: {DEVICE}")


def _ports(vllm: dict[str, Any], llmhop: dict[str, Any]) -> Iterator[Finding]:
    users = defaultdict(list)
    if llmhop.get("enable", True) is True:
        for own in loopback_ports(as_object(llmhop.get("settings"))):
            users[own].append("llmhop itself")
    for key, model in _enabled(vllm).items():
        port = _number(model.get("port"))
        if port is None:
            continue
        path = ("vllm", "models", key, "port")
        if port == 0:
            yield Finding.at(
                path, "must not be 0, which stands for no port in particular; give one above 1023"
            )
        elif users[port]:
            yield Finding.at(path, f"{port} is the port of {users[port][0]} too; give each its own")
        users[port].append(option_path(path[:-1]))


def _names(vllm: dict[str, Any], settings: dict[str, Any]) -> Iterator[Finding]:
    enabled = _enabled(vllm)
    if not enabled and not as_object(settings.get("models")):
        what = "enables no model" if as_object(vllm.get("models")) else "names no model"
        yield Finding.at(
            ("vllm", "models"),
            f"{what}; enable one, or set services.llmhop.vllm.enable = false",
        )
    owners: dict[str, str] = {}
    for key, model in enabled.items():
        name = _name(key, model)
        if name is None:
            continue
        path = ("vllm", "models", key, "name")
        if name in owners:
            yield Finding.at(path, f'"{name}" is the name of {owners[name]} too; give each its own')
        owners.setdefault(name, option_path(path[:-1]))


def _routes(vllm: dict[str, Any], settings: dict[str, Any]) -> Iterator[Finding]:
    """Find what llmhop can't: it does not know which models run here."""
    path: Path = ("llmhop", "settings", "models")
    enabled = _enabled(vllm) if vllm.get("enable") is True else {}
    names = {
        _name(key, model): option_path(("vllm", "models", key)) for key, model in enabled.items()
    }
    off = {_name(k, m) for k, m in as_object(vllm.get("models")).items() if isinstance(m, dict)}
    elsewhere = as_object(settings.get("models"))
    if not enabled and not any(map(has_route, elsewhere.values())):
        yield Finding.at(path, "names no model that runs; give at least one a url")
    for name, entry in elsewhere.items():
        if name in names and has_route(entry):
            given = next(key for key in ROUTES if entry.get(key) is not None)
            what = f"is set by {names[name]}, which serves here; remove it or rename"
            yield Finding.at((*path, name, given), what)
        elif isinstance(entry, dict) and not has_route(entry) and name not in {*names, *off}:
            yield Finding.at(
                (*path, name, "url"), "is required for a model that runs elsewhere; set it"
            )
    # A model that is off may be on again. llmhop can't tell, as a route may come later.
    yield from _clients(settings, {*names, *off, *elsewhere})


def _clients(settings: dict[str, Any], models: set[str | None]) -> Iterator[Finding]:
    for client, entry in as_object(settings.get("clients")).items():
        for index, name in enumerate(_list(as_object(entry).get("models"))):
            if isinstance(name, str) and name not in models:
                known = ", ".join(sorted(model for model in models if model is not None))
                yield Finding.at(
                    ("llmhop", "settings", "clients", client, "models", index),
                    f"is no model; write one by its own name ({known})",
                )


def _name(key: str, model: dict[str, Any]) -> str | None:
    name = model.get("name", key)
    return name if isinstance(name, str) else None
