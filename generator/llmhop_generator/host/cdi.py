"""CDI names: what they look like, and which of them specifications define.

Sources: the Container Device Interface specification, versions 0.3 to 1.0; containers.conf(5) for
where Podman looks for specifications.
"""

import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any

DEFAULT_SPEC_DIRS = ("/etc/cdi", "/var/run/cdi")
"""Podman's default `cdi_spec_dirs`."""

_NAME = re.compile(
    r"[A-Za-z][A-Za-z0-9._-]*/[A-Za-z][A-Za-z0-9._-]*=[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?"
)


def is_cdi_name(device: str) -> bool:
    """Whether a device is named as vendor/class=name."""
    return _NAME.fullmatch(device) is not None


def defined_names(spec: str) -> set[str]:
    """The qualified names that a specification in JSON or YAML defines.

    Raises:
        ValueError: it is neither, or no specification.
    """
    read = _read(spec)
    try:
        kind, names = read["kind"], [device["name"] for device in read["devices"]]
    except (KeyError, TypeError):
        raise ValueError("has no kind or no devices with names") from None
    return {f"{kind}={name}" for name in names}


def _read(spec: str) -> Any:
    try:
        return json.loads(spec)
    except ValueError:
        pass
    import yaml  # what a JSON specification, and a host without devices, do without

    try:
        return yaml.safe_load(spec)
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from None


def spec_dirs(configurations: Iterable[str]) -> list[str]:
    """Where Podman looks for specifications, by its containers.conf files; later ones win.

    Raises:
        ValueError: one of them can't be read.
    """
    found = list(DEFAULT_SPEC_DIRS)
    for text in configurations:
        given = tomllib.loads(text).get("engine", {}).get("cdi_spec_dirs")
        if isinstance(given, list):
            # A list ends with {append = true} where it adds to what was before.
            appends = {"append": True} in given
            named = [item for item in given if isinstance(item, str)]
            found = [*found, *named] if appends else named
    return found
