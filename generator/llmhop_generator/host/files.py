"""Files of ours on a host: read, replaced as a whole, removed."""

import os
import stat
import tempfile
from pathlib import Path

from llmhop_generator.errors import GeneratorError
from llmhop_generator.layout import HEADER

_RANDOM_CHARACTERS = "[a-z0-9_]" * 8
"""What ends the name of a file of `tempfile`."""

ROOM_ADVICE = "see that its file system has room and may be written to, and try again"


def write(path: Path, text: str, *, mode: int = 0o644, group: int | None = None) -> None:
    """Replace a file such that a reader sees the old text or the new, also after a crash.

    `group` is the numeric id of the group it shall have; None leaves it as created.

    Raises:
        GeneratorError: the file can't be written; the old one is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                if group is not None:
                    os.fchown(file.fileno(), -1, group)
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise GeneratorError(f"{path} can't be written: {error.strerror}; {ROOM_ADVICE}") from None


def has_drifted(path: Path, *, mode: int = 0o644, group: int | None = None) -> bool:
    """Whether a file or directory has another owner, group or mode than root gave it.

    To a plain user its own are as good. Of one that can't be looked at, nothing is told.
    """
    try:
        found = path.stat()
    except OSError:
        return False
    others = group is not None and found.st_gid != group
    return others or found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) != mode


def is_written(path: Path, text: str, *, mode: int = 0o644, group: int | None = None) -> bool:
    """Whether `write` would change nothing.

    Raises:
        GeneratorError: there is a file that can't be read.
    """
    return read(path) == text and not has_drifted(path, mode=mode, group=group)


def discard_unfinished(directory: Path, names: str) -> None:
    """Remove what runs that were killed in `write` left of files in a directory.

    `names` is a pattern of those files' names, of which nobody else writes any.

    Raises:
        GeneratorError: a file can't be removed.
    """
    for left in directory.glob(f".{names}.{_RANDOM_CHARACTERS}"):
        if left.is_file() and not left.is_symlink():
            remove(left)


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        GeneratorError: the file can't be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise GeneratorError(f"{path} can't be removed: {error.strerror}") from None


def read(path: Path) -> str | None:
    """Read a file, or give None where there is none.

    Raises:
        GeneratorError: there is one that can't be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise GeneratorError(f"{path} can't be read: {error.strerror}") from None


def names_in(directory: Path) -> list[str]:
    """The names in a directory, sorted; none where there is no such directory.

    Raises:
        GeneratorError: there is one that can't be read.
    """
    try:
        return sorted(path.name for path in directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise GeneratorError(f"{directory} can't be read: {error.strerror}") from None


def read_of_others(path: Path, limit: int) -> str | None:
    """Read up to `limit` bytes of a plain file that somebody may have replaced by anything."""
    data = read_regular(path, os.O_NOFOLLOW, limit)
    return None if data is None else data.decode("utf-8", errors="replace")


def read_regular(path: Path, flags: int = 0, limit: int = -1) -> bytes | None:
    """Read up to `limit` bytes of a file, or None where it is none that can be read now.

    So it is for a FIFO, which nobody may ever write.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_ours(directory: Path) -> dict[str, str]:
    """Read the Quadlet sources in a directory that we wrote: names and texts.

    What somebody else put there has no mark of ours and is left alone.

    Raises:
        GeneratorError: one can't be read.
    """
    names = [name for name in names_in(directory) if name.endswith(".container")]
    texts = {name: read(directory / name) for name in names}
    return {name: text for name, text in texts.items() if text and is_ours(text)}


def is_ours(text: str) -> bool:
    """Whether a text is that of a file that we wrote."""
    return text.startswith(f"# {HEADER}\n")


def sync_directory(directory: Path) -> None:
    """Make names that were changed in a directory last through a crash."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
