"""The file systems that models need, as lines of [Unit] (systemd.unit(5)).

Without those of the two directories Podman would fill what lies below them; without another only
the model that has it fails. module/lib/mounts.nix has the same.
"""

from collections.abc import Iterable, Iterator

from llmhop_generator.contract.options import Model, Vllm
from llmhop_generator.contract.text import effective_lines, normal_path
from llmhop_generator.contract.unit_keys import UnitValue, texts_of
from llmhop_generator.render.quadlet import Line, unit_line


def mount_lines(vllm: Vllm) -> list[Line]:
    """Give the lines by which a unit waits for the mounts of the directories and volumes.

    Raises:
        ValueError: a path has a character that no unit file holds.
    """
    lines = [unit_line("RequiresMountsFor", _path_list([vllm.data_dir, vllm.cache_dir]))]
    models = vllm.enabled_models
    files = [vllm.environment_file, *(model.environment_file for model in models)]
    wanted = [path for model in models for path in _sources(vllm, model)]
    wanted += [path for path in files if path is not None]
    if wanted:
        lines.append(unit_line("WantsMountsFor", _path_list(wanted)))
    return lines


def _sources(vllm: Vllm, model: Model) -> Iterator[str]:
    """The directories and files of the host that are mounted into a model's container.

    Of what PodmanArgs= mounts nothing is known.
    """
    keys = vllm.container_config | model.container_config
    volumes = (line.partition(":") for line in _lines(keys.get("Volume", [])))
    found = [path for path, colon, _ in volumes if colon]
    for line in _lines(keys.get("Mount", [])):
        fields = [field.strip() for field in line.split(",")]
        if "type=bind" in fields:
            found += [f.partition("=")[2] for f in fields if f.startswith(("source=", "src="))]
    yield from (path for path in found if path.startswith("/") and not {"%", "$"} & {*path})


def _lines(value: UnitValue) -> Iterable[str]:
    return effective_lines(map(str.strip, texts_of(value))).values()


def _path_list(paths: Iterable[str]) -> str:
    """Write paths as words, each as systemd takes it.

    It passes over what has `..` (config_parse_unit_mounts_for in its src/core/load-fragment.c;
    seen with systemd 257).
    """
    normal = sorted({*map(normal_path, paths)})
    escaped = (path.replace("\\", "\\\\").replace('"', '\\"') for path in normal)
    return " ".join(f'"{path}"' for path in escaped)
