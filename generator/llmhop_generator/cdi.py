"""CDI names: what they look like, and which of them a specification defines.

Source: the Container Device Interface specification, versions 0.3 to 1.0.
"""

import json
import re
from collections.abc import Iterator

_NAME = re.compile(
    r"[A-Za-z][A-Za-z0-9._-]*/[A-Za-z][A-Za-z0-9._-]*=[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?"
)


def is_cdi_name(device: str) -> bool:
    """Whether a device is named as vendor/class=name."""
    return _NAME.fullmatch(device) is not None


def defined_names(spec: str) -> set[str]:
    """The qualified names that a specification in JSON or YAML defines."""
    try:
        read = json.loads(spec)
    except ValueError:
        return set(_yaml_names(spec))
    try:
        return {f"{read['kind']}={device['name']}" for device in read["devices"]}
    except (KeyError, TypeError):
        return set()


def _yaml_names(spec: str) -> Iterator[str]:
    """Read the two keys that matter, in the block style in which every generator writes them."""
    kind, names, inside, indent = "", [], False, -1
    for line in spec.splitlines():
        if line[:1] not in (" ", "-", "#", ""):
            key, _, value = line.partition(":")
            inside, indent = key == "devices", -1
            kind = _scalar(value) if key == "kind" else kind
        elif inside and (item := re.match(r"( *)- ", line)) and indent in (-1, len(item[1])):
            indent = len(item[1])
        if inside and indent >= 0:
            found = re.match(rf" {{{indent}}}(?:- |  )name:(.*)", line)
            names += [_scalar(found[1])] if found else []
    return (f"{kind}={name}" for name in names if kind)


def _scalar(text: str) -> str:
    return text.strip().strip("\"'")
