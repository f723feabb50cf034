"""Proxy-Status (RFC 9209): tells a downstream llmhop that no engine has seen a request.

The downstream llmhop may then retry at another replica. Only requests that came through an llmhop
are answered with it, and each llmhop removes what it receives. A client sees it in one case: where
it is refused before the head of its request was read, its kind is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from llmhop.errors import BUSY, LOOP, NO_MODEL, NOT_REACHED

_Field = tuple[bytes, bytes, bytes]  # see known_fields.Field

_NAME: Final = b"proxy-status"
_ERRORS: Final = (NOT_REACHED, NO_MODEL, BUSY, LOOP)
# A member of a list (RFC 8941): commas part members, but not within strings.
_MEMBER: Final = re.compile(rb'(?>(?:[^,"]|"(?>(?:[^"\\]|\\.)*)"?)+)')


def proxy_status_line(error: bytes) -> bytes:
    """Write the field, without the end of its line."""
    return b"Proxy-Status: llmhop; error=" + error


def take_proxy_status(fields: Iterable[_Field]) -> tuple[list[_Field], bytes]:
    """Return the fields without what llmhops say in Proxy-Status, and the last error they name.

    The error is one of those above, or empty. What other proxies say stays.
    """
    kept: list[_Field] = []
    error = b""
    for key, name, value in fields:
        if key != _NAME:
            kept.append((key, name, value))
            continue
        others = []
        for member in _MEMBER.findall(value):
            proxy, *parameters = [part.strip(b" \t") for part in member.split(b";")]
            if proxy != b"llmhop":
                others.append(member.strip(b" \t"))
            for parameter in parameters if proxy == b"llmhop" else ():
                what = parameter.removeprefix(b"error=")
                if what != parameter and what in _ERRORS:
                    error = what
        if others and any(others):
            kept.append((key, name, b", ".join(others)))
    return kept, error
