"""A user's units, replaced as one: killed at any moment, the host has the old set or the new."""

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import files
from llmhop_generator.unit_names import UNIT_PREFIX

# Podman searches all below it for units of the system's manager and of every user's.
_SEARCHED = Path("/etc/containers/systemd")

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# Where a file system has no exchange of names (renameat2(2)), as ZFS below 2.2; or where the
# directory is one that something is mounted on.
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EBUSY)
_BLOCK = 4096  # what a file takes of a file system at the least


def staged_dir(directory: Path) -> Path:
    """Where the next set of units for a directory is written: near it, and not searched."""
    present = directory.resolve()
    if present.is_relative_to(_SEARCHED):
        below = "-".join(present.relative_to(_SEARCHED).parts)
        return _SEARCHED.with_name(f".llmhop-units-{below}")
    return present.with_name(f".{present.name}.next")


def stage(directory: Path, delete: Iterable[str], write: Mapping[str, str]) -> None:
    """Write the next set of units for a directory, beside the present one.

    What nobody changes is taken over, also what somebody else put there.

    Raises:
        GeneratorError: it can't be written, or could not be put in place; nothing is left of it.
    """
    staged = staged_dir(directory)
    try:
        discard(directory)
        staged.mkdir(parents=True)
        staged.chmod(0o755)  # whatever the umask is: the user has to read it
        for path in _listed(directory):
            if path.name not in {*delete, *write} and _is_plain(path):
                # No link: that would count as a change of what systemd has read.
                shutil.copy2(path, staged / path.name)
                shutil.chown(staged / path.name, path.stat().st_uid, path.stat().st_gid)
        for name, text in write.items():
            files.write(staged / name, text)
        _require_room(directory.resolve(), write.values())
    except OSError as error:
        discard(directory)
        raise GeneratorError(f"{staged} can't be written: {error.strerror}") from None
    except GeneratorError:
        discard(directory)
        raise


def _require_room(present: Path, texts: Iterable[str]) -> None:
    """See that what is staged could be written where it will be put.

    That may be a mount of its own, without room or read-only, and a swap comes when models have
    stopped already.

    Raises:
        GeneratorError: it can't be.
    """
    there = next(path for path in (present, *present.parents) if path.is_dir())
    sizes = [len(text.encode()) for text in texts]
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(sum(-(-size // _BLOCK) * _BLOCK for size in sizes)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise GeneratorError(
            f"{there} can't be written: {error.strerror}; {files.ROOM_ADVICE}"
        ) from None


def swap(directory: Path) -> None:
    """Put the staged set of units in the place of the present one.

    Where names can't be exchanged, or a directory of somebody else's is among them,
    file by file: then a crash may leave some of the old and some of the new.

    Raises:
        GeneratorError: it can't be done.
    """
    staged, present = staged_dir(directory), directory.resolve()
    try:
        present.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not all(map(_is_plain, _listed(present))) or not _exchange(staged, present):
            _replace_each(staged, present)
        files.sync_directory(present.parent)
    except OSError as error:
        raise GeneratorError(f"{present} can't be replaced: {error.strerror}") from None
    discard(directory)


def discard(directory: Path) -> None:
    """Remove what may be left of a run that was ended early: a staged set, files half written."""
    shutil.rmtree(staged_dir(directory), ignore_errors=True)
    with suppress(GeneratorError):  # it is no unit, and the next run tries again
        files.discard_unfinished(directory, f"{UNIT_PREFIX}*.container")


def _listed(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _exchange(one: Path, other: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    if libc.renameat2(_AT_FDCWD, *names, _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code))


def _replace_each(staged: Path, present: Path) -> None:
    for name in files.read_ours(present):
        if not (staged / name).exists():
            files.remove(present / name)
    for name, text in files.read_ours(staged).items():
        if not files.is_written(present / name, text):
            files.write(present / name, text)
    present.chmod(0o755)
    os.chown(present, os.geteuid(), -1)
