"""The bytes of a configuration, from a file or from standard input."""

import sys
from pathlib import Path

from llmhop_generator.errors import GeneratorError

MAX_BYTES = 64 * 1024 * 1024
"""More than any real configuration; a device or a log given by mistake ends here."""


def refuse(source: str, what: str) -> GeneratorError:
    """The error for a configuration that can't be taken as a whole."""
    return GeneratorError(f"{source}: {what}")


def read_source(source: str) -> bytes:
    """Read the file `source`, or standard input for `-`.

    Raises:
        GeneratorError: it can't be read, or is larger than MAX_BYTES.
    """
    try:
        data = _read(source)
    except FileNotFoundError:
        raise refuse(source, "no such file; give the path of a JSON configuration") from None
    except IsADirectoryError:
        raise refuse(source, "is a directory; give the path of a JSON file") from None
    except PermissionError:
        raise refuse(source, "permission denied; run as a user that may read it") from None
    except (OSError, ValueError) as error:
        raise refuse(source, f"can't be read: {getattr(error, 'strerror', error)}") from None
    if len(data) > MAX_BYTES:
        raise refuse(source, f"is larger than {MAX_BYTES >> 20} MiB; this is no configuration")
    return data


def _read(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with Path(source).open("rb") as file:
        return file.read(MAX_BYTES + 1)
