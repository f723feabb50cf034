"""Findings about devices: CDI names that nothing defines, and paths that do not exist."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from llmhop_generator.contract.options import Vllm
from llmhop_generator.errors import Finding
from llmhop_generator.errors import Path as OptionPath
from llmhop_generator.host import cdi, files
from llmhop_generator.preflight.paths import container_lines, devices_in

_log = logging.getLogger(__name__)

# In the order in which Podman reads them (containers.conf(5)); `~` is the user's home.
_CONFIGURATIONS = (
    "/usr/share/containers/containers.conf",
    "/etc/containers/containers.conf",
    "/etc/containers/containers.conf.d/*.conf",
    "~/.config/containers/containers.conf",
    "~/.config/containers/containers.conf.d/*.conf",
)
# Podman's own flag, which wins over its configuration.
_SPEC_DIR_FLAG = "--cdi-spec-dir"


@dataclass
class Known:
    """The CDI names that a host defines, where they were looked for, and what keeps it unsure."""

    directories: Sequence[str]
    names: set[str] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)


def device_findings(vllm: Vllm) -> Iterator[Finding]:
    """Find the devices of enabled models that this host does not have.

    Of CDI names that may be defined where this can't see, only a warning is logged.
    """
    known = _known_devices(vllm)
    for device, path in _named_devices(vllm).items():
        if not cdi.is_cdi_name(device):
            if not Path(device.split(":")[0]).exists():
                yield Finding.at(
                    path,
                    f"{device.split(':')[0]} does not exist on this host; name a device that does",
                )
        elif device not in known.names:
            problem = Finding.at(path, _undefined(device, known))
            if not known.doubts:
                yield problem
            else:
                _log.warning("warning: %s (not sure: %s)", problem, "; ".join(known.doubts))


def _named_devices(vllm: Vllm) -> dict[str, OptionPath]:
    """The devices of enabled models, also by containerConfig, and where each is set.

    Optional ones, `-…`, are left out.
    """
    found: dict[str, OptionPath] = {}
    for key, model in vllm.models.items():
        own = ("vllm", "models", key, "devices")
        path = ("vllm", "devices") if model.devices == vllm.devices else own
        for index, device in enumerate(model.devices if model.enable else []):
            if not device.startswith("-"):
                found.setdefault(device, (*path, index))
    for key, text, where in container_lines(vllm):
        for device in devices_in(key, text):
            # Paths are looked at with all others there; specifiers are for systemd to resolve.
            if cdi.is_cdi_name(device) and not {"%", "$"} & {*device}:
                found.setdefault(device, where)
    return found


def _known_devices(vllm: Vllm) -> Known:
    try:
        known = Known(cdi.spec_dirs(_configurations(Path(vllm.data_dir))))
    except ValueError as error:
        known = Known(cdi.DEFAULT_SPEC_DIRS, doubts=[f"a containers.conf can't be read: {error}"])
    if _SPEC_DIR_FLAG in str(
        [vllm.container_config, *(m.container_config for m in vllm.models.values())]
    ):
        known.doubts.append(f"containerConfig has {_SPEC_DIR_FLAG}")
    for directory in known.directories:
        for path in sorted(Path(directory).glob("*")):
            if path.suffix in (".json", ".yaml", ".yml"):
                try:
                    known.names |= cdi.defined_names(_text_of(path))
                except ValueError as error:
                    known.doubts.append(f"{path} {error}")
    return known


def _configurations(home: Path) -> Iterator[str]:
    for pattern in _CONFIGURATIONS:
        below = home if pattern.startswith("~/") else Path("/")
        for path in sorted(below.glob(pattern.removeprefix("~").lstrip("/"))):
            try:
                yield _text_of(path)
            except ValueError as error:
                raise ValueError(f"{path} {error}") from None


def _text_of(path: Path) -> str:
    """The text of a file that may be anybody's, and so anything."""
    content = files.read_regular(path)
    if content is None:
        raise ValueError("is no file that can be read")
    return content.decode("utf-8")


def _undefined(device: str, known: Known) -> str:
    looked = " or ".join(known.directories) or "no directory"
    if not known.names:
        return (
            f"no specification in {looked} defines {device}, or any other device; for NVIDIA, "
            "run `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
        )
    near = get_close_matches(device, sorted(known.names), n=3, cutoff=0)
    return f"no specification in {looked} defines {device}; nearest: {', '.join(near)}"
