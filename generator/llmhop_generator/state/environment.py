"""Digests of what environment files hold, which go into the notes that units leave.

They tell a later run that a file's content changed, and nobody what is in it: they are
made with a key that only root can read.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmhop_generator.host import files
from llmhop_generator.layout import ENVIRONMENT_KEY
from llmhop_generator.render.unit_reader import environment_files_of

_KEY_BYTES = 32


def read_key() -> bytes:
    """Read this host's key; a new one where none was kept, or a damaged one."""
    try:
        key = bytes.fromhex(files.read(ENVIRONMENT_KEY) or "")
    except ValueError:
        key = b""
    return key if len(key) == _KEY_BYTES else secrets.token_bytes(_KEY_BYTES)


def keep_key(key: bytes) -> None:
    """Keep the key, so that the next run makes the same digests.

    Raises:
        GeneratorError: it can't be written.
    """
    text = f"{key.hex()}\n"
    if not files.is_written(ENVIRONMENT_KEY, text, mode=0o600):
        files.write(ENVIRONMENT_KEY, text, mode=0o600)


def digests(sources: Mapping[str, str], key: bytes) -> dict[str, str]:
    """Digest what the environment files of each source hold now, by the source's name."""
    named = {name: environment_files_of(text) for name, text in sources.items()}
    return {name: _digest(paths, key) for name, paths in named.items() if paths}


def _digest(paths: Iterable[str], key: bytes) -> str:
    total = hashlib.blake2b(key=key, digest_size=32)
    for path in paths:
        content = files.read_regular(Path(path))
        total.update(b"-" if content is None else b"+" + hashlib.sha256(content).digest())
    return total.hexdigest()
