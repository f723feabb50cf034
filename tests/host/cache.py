"""A directory of things that are slow to make, kept from one test run to the next.

An artefact is a file or a directory. Its name ends in a hash of what it is made from, so
that a change of the inputs makes a new one. It appears under its name only when complete.
Nothing is ever changed in place. What was not used for some days goes when its successor is
made, and the whole directory may be deleted at any time when no test runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

DIGEST_CHARS = 16
KEEP_S = 7 * 24 * 3600


def default_directory() -> Path:
    """``$XDG_CACHE_HOME/llmhop-tests``, or the same under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "llmhop-tests"


def digest(parts: Iterable[str | Path]) -> str:
    """A short hash of `parts`: text as it is, a path by the names and bytes of its files."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(b"text\0" + part.encode() + b"\0")
            continue
        files = [part] if part.is_file() else sorted(p for p in part.rglob("*") if p.is_file())
        for file in files:
            if "__pycache__" in file.parts:
                continue
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            total.update(f"file\0{file.relative_to(part.parent)}\0{content}\0".encode())
    return total.hexdigest()[:DIGEST_CHARS]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`, waiting for it where another holds it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove(path: Path) -> None:
    """Remove a file or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Cache:
    """The cache directory; see the module's description."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or default_directory()
        self.directory.mkdir(parents=True, exist_ok=True)

    def artefact(
        self, name: str, made_from: Iterable[str | Path], make: Callable[[Path], None]
    ) -> Path:
        """The artefact `name` made from `made_from`, made now if it is missing.

        `make` is called with a path that does not exist yet and creates the file or the
        directory there. Whatever `make` raises is passed on and leaves nothing behind.
        """
        target = self.directory / f"{name}-{digest(made_from)}"
        if target.exists():
            os.utime(target)  # in use, so that it is not pruned
            return target
        with locked(self.directory / f"{name}.lock"):
            if target.exists():  # another process made it while this one waited
                return target
            for leftover in self.directory.glob(f".making-{name}-*"):
                remove(leftover)  # of a process that was killed: the lock is ours now
            space = Path(tempfile.mkdtemp(prefix=f".making-{name}-", dir=self.directory))
            space.chmod(0o755)
            try:
                make(space / name)
                (space / name).rename(target)
                os.utime(target)
            finally:
                remove(space)
            self._prune(name)
        return target

    def _prune(self, name: str) -> None:
        """Remove the artefacts of that name that were not used for KEEP_S."""
        for path in self.directory.glob(f"{name}-{'[0-9a-f]' * DIGEST_CHARS}"):
            if path.stat().st_mtime < time.time() - KEEP_S:
                remove(path)
