"""Via: the proxies that a request came through (RFC 9110 section 7.6.3), so that a loop is found.

Each running llmhop has a pseudonym of its own there, shared by its workers: a request that names it
has been here before. Those of other llmhops are counted, because llmhops that are each other's
fallback would forward one request along every path between them.
"""

from __future__ import annotations

import re
from typing import Final

PREFIX: Final = b"llmhop-"
"""Begins the pseudonym of every llmhop."""

UNNAMED: Final = PREFIX + b"0" * 16
"""The pseudonym where none was made."""


_HOP: Final = re.compile(rb"(?:\A|,)[ \t]*+[^ \t,]++[ \t]++" + PREFIX)


def count_hops(via: bytes) -> int:
    """Return through how many llmhops a request came, by its fields Via in lower case."""
    return len(_HOP.findall(via))


def via_line(http10: bool, pseudonym: bytes) -> bytes:
    """Write the field that a request goes on with, after those that it came with."""
    return b"Via: 1.%d %b\r\n" % (0 if http10 else 1, pseudonym)
