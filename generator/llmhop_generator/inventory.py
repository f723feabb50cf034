"""What of ours is on this host, read from the Quadlet sources themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from llmhop_generator import files
from llmhop_generator.layout import quadlet_dir
from llmhop_generator.units import service_of


@dataclass(frozen=True)
class Entry:
    """A model as its source describes it. `port` is the published one, on loopback."""

    name: str
    service: str
    image: str
    port: int
    devices: tuple[str, ...]


def sources() -> dict[int, dict[str, str]]:
    """Read our Quadlet sources: texts by uid and file name.

    Raises:
        GeneratorError: one can't be read.
    """
    users = quadlet_dir(0).parent
    directories = [path for path in users.glob("*") if path.name.isdecimal()]
    return {int(path.name): files.read_ours(path) for path in directories}


def entries(texts: Mapping[str, str]) -> list[Entry]:
    """Describe the models of some sources, by ascending port: the order in which they start."""
    found = [_entry(name, text) for name, text in texts.items()]
    return sorted(found, key=lambda entry: entry.port)


def _entry(file_name: str, text: str) -> Entry:
    lines = [line.split("=", 1) for line in text.splitlines() if "=" in line]

    def values(wanted: str) -> list[str]:
        return [value for key, value in lines if key == wanted]

    service = service_of(file_name)
    return Entry(
        name=service.removeprefix("vllm-").removesuffix(".service"),
        service=service,
        image=values("Image")[0],
        port=int(values("PublishPort")[0].split(":")[1]),
        devices=tuple(value.strip("\"'") for value in values("AddDevice")),
    )
