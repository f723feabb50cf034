"""What a refused head still says, for the access log and the id of the response.

All of it is pure. Nothing else depends on it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from llmhop.http.fields.forwarding import request_id

# Of what is no request line nothing is told, as it may be anything, such as a key that was pasted.
# The methods are those of RFC 9110 (section 9.1) and RFC 5789.
_LINE: Final = re.compile(
    rb"(?:\r\n)?(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) "
    rb"(/[^ \r\n?#]*+)?[^ \r\n]*+ HTTP/[0-9]\.[0-9]\r?\n"
)
_EMPTY_LINE: Final = re.compile(rb"\n\r?\n")
_ID: Final = re.compile(rb"\r\nx-request-id:[ \t]*+([^\r\n]*+)(?=\r\n)", re.IGNORECASE)


class RefusedHead(NamedTuple):
    """What was readable of a head; `path` only in origin form, without query and fragment."""

    method: bytes | None
    path: bytes | None
    request_id: bytes | None


def read_refused(raw: bytes) -> RefusedHead:
    """Read what is there of a head, which may be cut short or no HTTP at all.

    What follows an empty line is body.
    """
    line = _LINE.match(raw)
    end = _EMPTY_LINE.search(raw, 2 if raw.startswith(b"\r\n") else 0)
    ids = _ID.findall(raw, 0, len(raw) if end is None else end.start() + 1)
    id_ = (
        request_id([(b"x-request-id", b"X-Request-Id", ids[0].rstrip())]) if len(ids) == 1 else None
    )
    return RefusedHead(None, None, id_) if line is None else RefusedHead(line[1], line[2], id_)
