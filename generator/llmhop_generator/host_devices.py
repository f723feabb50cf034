"""Findings about devices: CDI names that nothing defines, and paths that do not exist."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from llmhop_generator.cdi import defined_names, is_cdi_name
from llmhop_generator.contract import Vllm
from llmhop_generator.errors import Path as OptionPath
from llmhop_generator.errors import Problem, option_path

# Podman's default cdi_spec_dirs (containers.conf(5)).
_SPEC_DIRS = (Path("/etc/cdi"), Path("/var/run/cdi"))


def device_findings(vllm: Vllm) -> Iterator[Problem]:
    """Find the devices of enabled models that this host does not have."""
    known = _defined()
    for device, path in _named(vllm).items():
        if is_cdi_name(device):
            if device not in known:
                yield Problem(option_path(path), _undefined(device, known))
        elif not Path(device.split(":")[0]).exists():
            yield Problem(
                option_path(path),
                f"{device.split(':')[0]} does not exist on this host; name a device that does",
            )


def _named(vllm: Vllm) -> dict[str, OptionPath]:
    """The devices of enabled models, and where each is set; optional ones, `-…`, are left out."""
    found: dict[str, OptionPath] = {}
    for key, model in vllm.models.items():
        own = ("vllm", "models", key, "devices")
        path = ("vllm", "devices") if model.devices == vllm.devices else own
        for index, device in enumerate(model.devices if model.enable else []):
            if not device.startswith("-"):
                found.setdefault(device, (*path, index))
    return found


def _defined() -> set[str]:
    names: set[str] = set()
    for directory in _SPEC_DIRS:
        for path in sorted(directory.glob("*")):
            if path.suffix in (".json", ".yaml", ".yml"):
                names |= defined_names(path.read_text(encoding="utf-8", errors="replace"))
    return names


def _undefined(device: str, known: set[str]) -> str:
    looked = " or ".join(map(str, _SPEC_DIRS))
    if not known:
        return (
            f"no specification in {looked} defines {device}, or any other device; for NVIDIA, "
            "run `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
        )
    near = get_close_matches(device, sorted(known), n=3, cutoff=0) or sorted(known)[:3]
    return f"no specification in {looked} defines {device}; nearest: {', '.join(near)}"
