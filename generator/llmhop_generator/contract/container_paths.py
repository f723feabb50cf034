"""Paths in the arguments of a model that its container does not have.

`vllm serve` reads files inside of the container, where a directory of the host exists only as a
volume. What an image contains is known of vLLM's images alone; no image contains the Nix store of
the host, nor a volume's files under their name on the host.
"""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llmhop_generator.contract import flags
from llmhop_generator.contract.images import is_vllms_own
from llmhop_generator.contract.keys.own import CACHE_HOME, MODEL_CACHE
from llmhop_generator.contract.options import Vllm
from llmhop_generator.contract.text import effective_lines, is_within, normal_path
from llmhop_generator.errors import Finding, Path

_STORE = "/nix/store"

# Made in every container, and then what is in vLLM's images (docker/Dockerfile* there): its
# examples with the chat templates, Python's packages, root's home.
_IN_EVERY_CONTAINER = ("/dev", "/proc", "/sys", "/tmp")  # noqa: S108 - a name
_IN_VLLMS_IMAGES = (
    *_IN_EVERY_CONTAINER,
    *("/app", "/etc/ssl", "/opt/rocm", "/opt/venv", "/root", "/usr"),
    *("/var/tmp", "/vllm-workspace", "/workspace"),  # noqa: S108 - names
)

# Flags whose values may begin with a slash and name no file: paths of URLs, and text.
_NO_FILES = {
    "default-chat-template-kwargs",
    "disable-access-log-for-endpoints",
    "fingerprint-value",
    "override-generation-config",
    "reasoning-config",
    "root-path",
}

_NAMED = re.compile(r"[^/=\s]+=(/.*)", re.DOTALL)
_ADDS_VOLUMES = re.compile(r"(^|\s)(-v|--(volume|volumes-from|mount|tmpfs|secret|rootfs))\b")


class Volume(NamedTuple):
    """A place in a container, and what of the host is there; None where nothing known is."""

    target: str
    source: str | None = None


class _Given(NamedTuple):
    """A path in the arguments of a model, of the option `where`; `is_file`: it is never a name."""

    where: Path
    path: str
    is_file: bool
    volumes: list[Volume]


def findings(vllm: Mapping[str, Any]) -> Iterator[Finding]:
    """Find the paths of all models, in the JSON of the backend, that nothing brings in."""
    known = _is_known(vllm)
    for given in _given(vllm):
        if what := _problem(given.path, given.volumes, named=known and given.is_file):
            yield Finding.at(given.where, what)


def unknown_paths(vllm: Mapping[str, Any]) -> dict[str, list[Finding]]:
    """Give the paths that no volume brings in, and that an image which is not vLLM's may have.

    Each has what there is to say of it, by option, where it is one of the host, too.
    """
    found: dict[str, list[Finding]] = {}
    for given in _given(vllm) if not _is_known(vllm) else ():
        certain = _problem(given.path, given.volumes, named=False)
        if given.is_file and not certain and _problem(given.path, given.volumes, named=True):
            path = normal_path(given.path)
            what = (
                f"has {path}, which is on this host and which no volume brings into the container; "
                f"where {vllm['image']} does not have it, {_add_volume(path)}"
            )
            found.setdefault(path, []).append(Finding.at(given.where, what))
    return found


def _is_known(vllm: Mapping[str, Any]) -> bool:
    """Whether it is known what the image has of its own."""
    image = vllm.get("image", Vllm.model_fields["image"].default)
    return isinstance(image, str) and is_vllms_own(image)


def _given(vllm: Mapping[str, Any]) -> Iterator[_Given]:
    cache = vllm.get("cacheDir", Vllm.model_fields["cache_dir"].default)
    general, keys = _object(vllm.get("modelSettings")), _object(vllm.get("containerConfig"))
    ours = [Volume(CACHE_HOME), Volume(MODEL_CACHE, cache if isinstance(cache, str) else None)]
    for name, model in _object(vllm.get("models")).items():
        path: Path = ("vllm", "models", name)
        options = _object(model)
        volumes = _volumes({**keys, **_object(options.get("containerConfig"))}, ours)
        if volumes is None:
            continue
        own = _object(options.get("settings"))
        given = [((*path, "model"), "model", options.get("model"))]
        inherited = flags.inherited(general, own)
        settings = [((*path, "settings", key), key, value) for key, value in own.items()]
        settings += [(("vllm", "modelSettings", key), key, inherited[key]) for key in inherited]
        # What is refused by its name needs no path.
        given += [each for each in settings if not flags.is_taken(each[1])]
        for where, key, value in given:
            is_file = flags.place(key)[0] not in _NO_FILES
            yield from (_Given(where, text, is_file, volumes) for text in _absolute(value))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _absolute(value: Any) -> Iterator[str]:
    """Find the absolute paths in a value: by themselves, as NAME=PATH, and in JSON."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as inner:
                waiting += inner.values()
            case list() as items:
                waiting += items
            case str() as text:
                if text[:1] in ("{", "["):
                    waiting.append(_json(text))
                elif text.startswith("/"):
                    yield text
                elif named := _NAMED.fullmatch(text):
                    yield named[1]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _problem(text: str, volumes: list[Volume], *, named: bool) -> str | None:
    """Say what is wrong with a path; `named`: it is one, and what the image has is known."""
    path = normal_path(text)
    if any(is_within(path, volume.target) or is_within(volume.target, path) for volume in volumes):
        return None
    if any(is_within(path, each) for each in (_IN_VLLMS_IMAGES if named else _IN_EVERY_CONTAINER)):
        return None
    for target, source in volumes:
        if source is not None and is_within(path, source):
            inside = posixpath.join(target, posixpath.relpath(path, source))
            return f"has {path}, which the container has as {normal_path(inside)}; write that"
    if is_within(path, _STORE):
        # The whole of it: a file there may be a link to another.
        return _missing_path(path, _STORE)
    return _missing_path(path, path) if named else None


def _missing_path(path: str, volume: str) -> str:
    return (
        f"has {path}, which the container does not have, because no volume brings it in; "
        f"{_add_volume(volume)}"
    )


def _add_volume(path: str) -> str:
    while ":" in path:
        # It would end the name of the volume's source.
        path = posixpath.dirname(path)
    return f'add "{path}:{path}:ro" to containerConfig.Volume'


def _volumes(keys: Mapping[str, Any], own: list[Volume]) -> list[Volume] | None:
    """Give what a container's keys mount, beside our own; None where they may mount more."""
    volumes = [str(item).strip() for item in _items(keys.get("Volume"))]
    found = [] if "" in volumes else [*own]
    for text in effective_lines(volumes).values():
        parts = text.split(":")
        found.append(_volume(parts[1], parts[0]) if parts[1:] else _volume(parts[0], None))
    for key in ("Mount", "Secret"):
        for text in map(str, _items(keys.get(key))):
            fields = dict(part.strip().partition("=")[::2] for part in text.split(","))
            target = next((fields[k] for k in ("target", "destination", "dst") if k in fields), "")
            source = fields.get("source") or fields.get("src")
            found.append(_volume(target, source if fields.get("type") == "bind" else None))
    for text in map(str, _items(keys.get("Tmpfs"))):
        found.append(_volume(text.partition(":")[0], None))
    if any("%" in volume.target for volume in found):
        return None  # a specifier, which systemd expands
    if "Rootfs" in keys or _ADDS_VOLUMES.search(" ".join(map(str, _items(keys.get("PodmanArgs"))))):
        return None
    return [volume for volume in found if volume.target.startswith("/")]


def _volume(target: str, source: str | None) -> Volume:
    known = source is not None and source.startswith("/") and "%" not in source
    inside = normal_path(target) if target.startswith("/") else target
    return Volume(inside, normal_path(source) if known and source else None)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
