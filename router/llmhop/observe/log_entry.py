"""The records of the access log, whose JSON follows from their annotations."""

from __future__ import annotations

import msgspec


class Entry(msgspec.Struct, gc=False, kw_only=True):
    """One request. Times are milliseconds; those of a stage that was not reached are None.

    `end` says how it ended: `complete`; `client_left`; `idle`, as a WebSocket on which neither side
    said anything; `client_stalled`, `backend_broke`, `backend_stalled` or `shutting_down` where the
    response broke off after its head; or the code of the error that was the answer,
    `refused` where it has none.
    """

    time: str
    request_id: str
    client: str
    client_name: str | None
    method: str | None
    path: str | None
    model: str | None
    backend: str | None
    status: int
    bytes_in: int
    bytes_out: int
    queue_ms: float | None
    connect_ms: float | None
    first_byte_ms: float | None
    total_ms: float
    end: str


class DroppedLines(msgspec.Struct):
    """Written in place of lines that were dropped, as nobody read them."""

    time: str
    dropped_lines: int
