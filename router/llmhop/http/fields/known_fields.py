"""Picks out the header fields that llmhop acts on, such as those that frame a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from llmhop.limits import MAX_FIELDS

Field = tuple[bytes, bytes, bytes]
"""A header field: name in lower case, name as sent, value without white space around it."""

Names = frozenset[bytes]

MakeError = Callable[[str], Exception]

_KNOWN = frozenset(
    (
        b"authorization",
        b"connection",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"origin",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"x-api-key",
    )
)
_KEPT: Names = frozenset((b"via",))
_NONE: Names = frozenset()
_LENGTH = re.compile(rb"[0-9]{1,18}")


class KnownFields:
    """The fields of a message that llmhop acts on: framing, credentials, hop-by-hop options.

    Raises `error` where they leave the length of the message ambiguous, even if llhttp had let
    them pass.
    """

    __slots__ = (
        "authorization",
        "chunked",
        "content_length",
        "content_types",
        "expect",
        "hosts",
        "nominated",
        "origins",
        "upgrades",
        "vias",
        "x_api_key",
    )

    def __init__(self, fields: Iterable[Field], error: MakeError) -> None:
        self.authorization: bytes | None = None
        self.chunked = False
        self.content_length: int | None = None
        self.content_types: list[bytes] = []
        self.expect: bytes | None = None
        self.hosts: list[bytes] = []
        self.origins: list[bytes] = []
        self.upgrades: list[bytes] = []
        self.vias: list[bytes] = []
        self.x_api_key: bytes | None = None
        options: list[bytes] = []
        for name, _, value in fields:
            if name not in _KNOWN:
                continue
            if name == b"host":
                self.hosts.append(value)
            elif name == b"content-type":
                self.content_types.append(value)
            elif name == b"content-length":
                self.content_length = self._length(value, error)
            elif name == b"transfer-encoding":
                if self.chunked or value.lower() != b"chunked":
                    raise error("The Transfer-Encoding is not plain 'chunked'.")
                self.chunked = True
            elif name == b"connection":
                if len(options) + value.count(b",") >= MAX_FIELDS:
                    raise error(f"The Connection header names more than {MAX_FIELDS} options.")
                options += [option.strip(b" \t") for option in value.lower().split(b",")]
            elif name == b"expect":
                self.expect = value.lower() if self.expect is None else b"twice"
            elif name == b"upgrade":
                self.upgrades.append(value.lower())
            elif name == b"origin":
                self.origins.append(value)
            elif name == b"via":
                self.vias.append(value)
            elif name == b"x-api-key":
                self.x_api_key = value if self.x_api_key is None else b""
            else:
                # Two Authorization fields are no valid one.
                self.authorization = value if self.authorization is None else b""
        # Via stays, whatever Connection says, or a loop would go unnoticed.
        self.nominated: Names = frozenset(options) - _KEPT if options else _NONE
        if self.chunked and self.content_length is not None:
            raise error("There are both Content-Length and Transfer-Encoding.")

    @property
    def framed(self) -> bool:
        """Whether a body is announced, by its length or as chunks."""
        return self.chunked or self.content_length is not None

    def _length(self, value: bytes, error: MakeError) -> int:
        if self.content_length is not None or not _LENGTH.fullmatch(value):
            raise error("The Content-Length is not one number.")
        return int(value)
