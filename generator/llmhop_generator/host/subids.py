"""Subordinate ids: the lines of /etc/subuid and /etc/subgid (subuid(5))."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Range:
    """Some ids that an owner, by name or number, may use."""

    owner: str
    start: int
    count: int

    @property
    def last(self) -> int:
        """The highest of the ids."""
        return self.start + self.count - 1

    @property
    def shown(self) -> str:
        """The first and the last id, for messages."""
        return f"{self.start} to {self.last}"

    def overlaps(self, start: int, count: int) -> bool:
        """Whether some of these ids lie in another range."""
        return self.start < start + count and start < self.start + self.count


def read_ranges(path: Path) -> list[Range]:
    """Read the ranges of a file; none where it can't be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return list(_parse(lines))


def _parse(lines: list[str]) -> Iterator[Range]:
    for line in lines:
        match line.strip().split(":"):
            case [owner, start, count] if start.isdecimal() and count.isdecimal():
                yield Range(owner, int(start), int(count))


def is_given(ranges: Iterable[Range], start: int, count: int) -> bool:
    """Whether some ids all lie in ranges, be it in several that follow one another.

    As newuidmap sees it (have_range in shadow's lib/subordinateio.c).
    """
    reached = start
    for each in sorted(ranges, key=lambda each: each.start):
        if each.start <= reached:
            reached = max(reached, each.start + each.count)
    return start + count <= reached


def ranges_of(path: Path, user: str, uid: int) -> list[Range]:
    """Read the ranges that a file gives a user, named or by its id."""
    return [found for found in read_ranges(path) if found.owner in (user, str(uid))]
