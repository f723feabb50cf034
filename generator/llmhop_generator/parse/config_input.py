"""The bytes of a configuration, from a file or from standard input."""

import os
import stat
import sys
from pathlib import Path

from llmhop_generator.errors import GeneratorError

MAX_BYTES = 64 * 1024 * 1024
"""More than any real configuration; a device or a log given by mistake ends here."""


def refuse(label: str, what: str) -> GeneratorError:
    """The error for a configuration that can't be taken as a whole."""
    return GeneratorError(f"{label}: {what}")


def read_input(path: str) -> bytes:
    """Read the file `path`, or standard input for `-`.

    Of what is no file only a pipe that has no name is read, as shells make one for `<(command)`:
    nobody may ever write a named one, and to open a device may act on it.

    Raises:
        GeneratorError: it can't be read, or is larger than MAX_BYTES.
    """
    if not path:
        what = "the path of the configuration is empty; "
        raise GeneratorError(f"{what}give that of a JSON file, or - for standard input")
    try:
        data = _read(path)
    except FileNotFoundError:
        raise refuse(path, "no such file; give the path of a JSON configuration") from None
    except PermissionError:
        raise refuse(path, "permission denied; run as a user that may read it") from None
    except (OSError, ValueError) as error:
        raise refuse(path, f"can't be read: {getattr(error, 'strerror', error)}") from None
    if len(data) > MAX_BYTES:
        raise refuse(path, f"is larger than {MAX_BYTES >> 20} MiB; this is no configuration")
    return data


_NO_FILES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _read(path: str) -> bytes:
    if path == "-":
        if sys.stdin is None:
            raise refuse(path, "standard input is closed; give the path of a JSON file")
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    _refuse_no_file(path, Path(path).stat().st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        _refuse_no_file(path, mode)  # another one may have come in its place
        if stat.S_ISFIFO(mode) and not _has_no_name(descriptor):
            what = "is a named pipe, which nobody may ever write; give a file, or - and the pipe as"
            raise refuse(path, f"{what} standard input")
        os.set_blocking(descriptor, True)
        return file.read(MAX_BYTES + 1)


def _refuse_no_file(path: str, mode: int) -> None:
    if kind := _NO_FILES.get(stat.S_IFMT(mode)):
        raise refuse(path, f"is {kind}; give the path of a JSON file")


def _has_no_name(pipe: int) -> bool:
    return str(Path(f"/proc/self/fd/{pipe}").readlink()).startswith("pipe:")
