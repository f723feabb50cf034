"""What can be told of a head that was refused: for the access log, and the id of its answer.

All of it is pure. Nothing else is decided by it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from llmhop.http.fields.message import request_id

_LINE: Final = re.compile(rb"(?:\r\n)?([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (/[^ \r\n?]*+)?")
_ID: Final = re.compile(rb"\r\nx-request-id:[ \t]*+([^\r\n]*+)(?=\r\n)", re.IGNORECASE)


class RefusedHead(NamedTuple):
    """What was readable of a head; `path` only in origin form, without the query."""

    method: bytes | None
    path: bytes | None
    request_id: bytes | None


def read_refused(raw: bytes) -> RefusedHead:
    """Read what is there of a head, which may be cut short or no HTTP at all."""
    line = _LINE.match(raw)
    ids = _ID.findall(raw)
    id_ = (
        request_id([(b"x-request-id", b"X-Request-Id", ids[0].rstrip())]) if len(ids) == 1 else None
    )
    return RefusedHead(None, None, id_) if line is None else RefusedHead(line[1], line[2], id_)
