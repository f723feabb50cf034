"""The file systems that models need, as lines of [Unit] (systemd.unit(5)).

Without those of the two directories Podman would fill what lies below them; without another only
the model that has it fails. module/lib/mounts.nix has the same.
"""

from collections.abc import Iterable, Iterator

from llmhop_generator.contract.options import Model, Vllm
from llmhop_generator.contract.unit_keys import texts_of
from llmhop_generator.render.quadlet import Line, unit_line


def mount_lines(vllm: Vllm) -> list[Line]:
    """Give the lines by which a unit waits for the mounts of the directories and volumes.

    Raises:
        ValueError: a path has a character that no unit file holds.
    """
    lines = [unit_line("RequiresMountsFor", _words([vllm.data_dir, vllm.cache_dir]))]
    models = vllm.enabled_models
    files = [vllm.environment_file, *(model.environment_file for model in models)]
    wanted = [path for model in models for path in _volumes(vllm, model)]
    wanted += [path for path in files if path is not None]
    if wanted:
        lines.append(unit_line("WantsMountsFor", _words(wanted)))
    return lines


def _volumes(vllm: Vllm, model: Model) -> Iterator[str]:
    lines: list[str] = []
    for text in texts_of((vllm.container_config | model.container_config).get("Volume", [])):
        # An empty line takes those before it away.
        lines = [*lines, text.strip()] if text.strip() else []
    for line in lines:
        path, colon, _ = line.partition(":")
        if colon and path.startswith("/") and "%" not in path and "$" not in path:
            yield path


def _words(paths: Iterable[str]) -> str:
    escaped = (path.replace("\\", "\\\\").replace('"', '\\"') for path in sorted(set(paths)))
    return " ".join(f'"{path}"' for path in escaped)
