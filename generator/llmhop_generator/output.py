"""Writes a rendered tree below a directory that the user named."""

from collections.abc import Mapping
from pathlib import Path

from llmhop_generator import files


def write_tree(output: Path, tree: Mapping[str, str]) -> None:
    """Write texts by path below `output`, and remove units of ours that are not among them.

    Raises:
        GeneratorError: a file can't be written or removed.
    """
    for path, text in tree.items():
        files.write(output / path, text, durable=False)
    for name in files.read_ours(output / "quadlet"):
        if f"quadlet/{name}" not in tree:
            files.remove(output / "quadlet" / name)
