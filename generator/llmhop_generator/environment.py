"""Digests of the environment files with which models were started.

They tell a later run that a file's content changed, and nobody what is in it: they are
keyed, and the file that keeps key and digests is root's own. It lies among the units, so
that both are replaced as one.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmhop_generator import files
from llmhop_generator.sources import environment_files_of

RECORD = ".environment.json"
_KEY_BYTES = 32


@dataclass(frozen=True)
class Record:
    """A key and the digests made with it, by the name of a source."""

    key: bytes
    digests: Mapping[str, str]

    def as_text(self) -> str:
        """Write it as it is kept."""
        kept = {"key": self.key.hex(), "digests": dict(sorted(self.digests.items()))}
        return json.dumps(kept, indent=2) + "\n"


def read_record(directory: Path) -> Record:
    """Read what was recorded beside the units; a new key and no digests where nothing was."""
    try:
        read = json.loads(files.read(directory / RECORD) or "")
        return Record(bytes.fromhex(read["key"]), dict(read["digests"]))
    except (ValueError, TypeError, KeyError):
        return Record(secrets.token_bytes(_KEY_BYTES), {})


def digests(sources: Mapping[str, str], key: bytes) -> dict[str, str]:
    """Digest what the environment files of each source hold now, by the source's name."""
    named = {name: environment_files_of(text) for name, text in sources.items()}
    return {name: _digest(paths, key) for name, paths in named.items() if paths}


def _digest(paths: Iterable[str], key: bytes) -> str:
    total = hashlib.blake2b(key=key, digest_size=32)
    for path in paths:
        try:
            content = b"+" + hashlib.sha256(Path(path).read_bytes()).digest()
        except OSError:
            content = b"-"
        total.update(content)
    return total.hexdigest()
