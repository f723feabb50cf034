"""A plain Debian host set up as the README says, for scenarios.

On NixOS the module does what `prepare` does here. Both kinds of host have the commands
`switch-to NAME`, which brings the host to another configuration of the scenario, and `chat` and
`streams`, programs of a user.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import install
from tests.host.root import VENV
from tests.images.load import load_image
from tests.images.standin.image import NEW_ENTRYPOINT, OLD_ENTRYPOINT, standin_tar
from tests.images.vllm.image import VERSION, vllm_tar

SCENARIOS = Path(__file__).parents[1] / "scenarios"
ETC = "/etc/llmhop"
# Options of vLLM: a model that is not up at the first look is looked at again in 1 s, not in 5 s.
FOUND_HEALTHY_SOON = {"containerConfig": {"HealthStartupInterval": "1s"}}


@dataclass(frozen=True)
class Image:
    """An image to have before the start: its archive, name, and a tag for each entrypoint."""

    archive: Path
    name: str
    entrypoints: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Setup:
    """What a scenario's host has: configurations by name, images, files, and what is applied.

    `first` is the configuration that is provisioned for; `applied` says whether it
    is also brought up before the scenario begins.
    """

    first: str
    configs: Mapping[str, str]
    image: Image
    files: Mapping[str, str] = field(default_factory=dict)
    applied: bool = True

    def prepare(self, wheels: Path) -> Callable[[Machine], None]:
        """Give the function that sets a fresh host up."""

        def prepare(machine: Machine) -> None:
            install(machine, wheels)
            for name, text in self.configs.items():
                write(machine, f"{ETC}/{name}.json", text)
            for path, text in self.files.items():
                write(machine, path, text)
            for name in ("chat", "streams"):
                command(machine, name, f'exec {VENV}/bin/python {ETC}/{name}.py "$@"')
                machine.copy_from_host(str(SCENARIOS / f"{name}_command.py"), f"{ETC}/{name}.py")
            command(machine, "switch-to", f'exec llmhop-generator apply "{ETC}/$1.json"')
            machine.succeed(f"llmhop-generator provision {ETC}/{self.first}.json")
            load(machine, self.image)
            if self.applied:
                machine.succeed(f"switch-to {self.first}")

        return prepare


def standin_image(cache: Cache) -> Image:
    """The stand-in engine, started as vLLM's images start it up to v0.11 and later."""
    entrypoints = {"v0.11.0": OLD_ENTRYPOINT, "v0.12.0": NEW_ENTRYPOINT}
    return Image(standin_tar(cache), "localhost/standin", entrypoints)


def vllm_image(cache: Cache) -> Image:
    """A real vLLM for the CPU, with a tiny model in it."""
    return Image(vllm_tar(cache), "localhost/vllm-cpu", {VERSION: NEW_ENTRYPOINT})


def write(machine: Machine, path: str, text: str) -> None:
    """Write a file on the host, below directories that are made where they are missing."""
    machine.succeed(f"mkdir -p {quote(str(Path(path).parent))}")
    machine.succeed(f"printf %s {quote(text)} > {quote(path)}")


def command(machine: Machine, name: str, line: str) -> None:
    """Give the host a command of one line of shell."""
    write(machine, f"/usr/local/bin/{name}", f"#!/bin/sh\n{line}\n")
    machine.succeed(f"chmod +x /usr/local/bin/{name}")


def load(machine: Machine, image: Image) -> None:
    """Import an image under each of its tags."""
    for tag, entrypoint in image.entrypoints.items():
        load_image(machine, image.archive, f"{image.name}:{tag}", "vllm", entrypoint)


def configs(*names: str) -> dict[str, str]:
    """Read configurations from beside the scripts."""
    return {name: (SCENARIOS / f"{name}.json").read_text(encoding="utf-8") for name in names}


def environment_file(config: str) -> str:
    """The backend-wide environment file that a configuration names."""
    path = json.loads(config)["vllm"]["environmentFile"]
    assert isinstance(path, str)
    return path
