"""Writes a rendered tree below a directory that the user named."""

from collections.abc import Mapping
from pathlib import Path

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import files

_UNMARKED = ("llmhop.json", "host/subuid", "host/subgid")
"""Files of a tree that can hold no mark of ours, and are known by their name."""


def write_tree(output: Path, tree: Mapping[str, str]) -> None:
    """Write texts by path below `output`, and remove files of ours that are not among them.

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
    for found in _ours(output):
        if str(found.relative_to(output)) not in tree:
            files.remove(found)
            _remove_empty(found.parent, output)


def _ours(output: Path) -> list[Path]:
    """The files below a directory that an earlier run wrote."""
    below = [path for name in ("quadlet", "host") for path in (output / name).rglob("*")]
    marked = [path for path in below if path.is_file() and files.is_ours(files.read(path) or "")]
    return marked + [output / name for name in _UNMARKED]


def _remove_empty(directory: Path, top: Path) -> None:
    """Remove directories that hold nothing any more, up to `top`."""
    while directory != top:
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent
