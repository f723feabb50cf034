"""Writes a rendered tree below a directory that the user named."""

from collections.abc import Mapping
from pathlib import Path

from llmhop_generator import files
from llmhop_generator.errors import GeneratorError


def write_tree(output: Path, tree: Mapping[str, str]) -> None:
    """Write texts by path below `output`, and remove units of ours that are not among them.

    Raises:
        GeneratorError: a file can't be written or removed.
    """
    try:
        for directory in {(output / path).parent for path in tree}:
            directory.mkdir(parents=True, exist_ok=True)
        for path, text in tree.items():
            (output / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise GeneratorError(f"{error.filename} can't be written: {error.strerror}") from None
    for unit in (output / "quadlet").glob("*.container"):
        if f"quadlet/{unit.name}" not in tree and files.is_ours(files.read(unit) or ""):
            files.remove(unit)
