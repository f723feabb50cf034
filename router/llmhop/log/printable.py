"""Escapes untrusted text, such as names in a config, for terminals and line-based logs."""

from __future__ import annotations

import re

# C0 and C1 but for newline and tab, Unicode's own ends of lines, what turns the direction of text
# (CVE-2021-42574), and halves of surrogate pairs, which UTF-8 can't write.
_UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Spell out, as JSON does, what would steer a terminal. Newlines and tabs stay."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """Spell out newlines and tabs as well."""
    return printable(text).replace("\n", "\\u000a").replace("\t", "\\u0009")
