"""What is noted of a request on its way: its id, its times and sizes, and how it ended.

A connection has one record, which its requests use in turn. At the end of each it is counted and
logged. `begin` and `end` frame a request; what lies between may be left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Protocol

from llmhop.access_log import MAX_VALUE_CHARACTERS, AccessLog, Entry
from llmhop.http_head import RequestHead, ResponseHead
from llmhop.metric_cells import (
    BOUNDS_US,
    BYTES_IN,
    BYTES_OUT,
    CELL_OF_FAILURE,
    CELL_OF_STATUS,
    CLIENT_LEFT,
    COMPLETION_TOKENS,
    DURATION,
    DURATION_SUM,
    FIRST_BYTE,
    FIRST_BYTE_SUM,
    IN_FLIGHT,
    PROMPT_TOKENS,
    QUEUED,
    STREAMS,
)
from llmhop.metric_store import NO_MODEL, Row
from llmhop.usage import TAIL_BYTES, TAIL_PIECES, find_usage


class Books(Protocol):
    """What the records of a process share."""

    access_log: AccessLog
    new_id: Callable[[], bytes]
    """Returns an id that no other request has."""

    def row(self, model: str) -> Row:
        """Return where the requests of a model are counted."""


class RequestRecord:
    """The record of a connection's current request. `active` is between `begin` and `end`.

    Whoever knows sets `model` and `origin`, of the backend that gets the request; `bytes_in` and
    `bytes_out`, of the bodies, a response's chunk framing included. `request_id` is there from
    `begin` until the next one.
    """

    __slots__ = (
        "_admitted_ns",
        "_books",
        "_client",
        "_connected_ns",
        "_connecting_ns",
        "_first_ns",
        "_head",
        "_last",
        "_method",
        "_path",
        "_queued_ns",
        "_row",
        "_row_model",
        "_seen_backend",
        "_seen_origin",
        "_started_ns",
        "_status",
        "_streams",
        "_whole",
        "active",
        "bytes_in",
        "bytes_out",
        "model",
        "origin",
        "request_id",
    )

    request_id: bytes
    bytes_out: int
    model: str | None
    origin: object
    _started_ns: int
    _first_ns: int
    _connected_ns: int
    _admitted_ns: int
    _status: int

    def __init__(self, books: Books) -> None:
        self._books = books
        self._client = "unknown"
        self._head: RequestHead | None = None
        self._method: str | None = None
        self._path: str | None = None
        self._row: Row | None = None
        self._row_model: str | None = None
        self._seen_origin: object = None
        self._seen_backend: str | None = None
        self._whole: bytes | None = None
        self._last: deque[bytes] | None = None
        self._queued_ns = self._connecting_ns = self.bytes_in = 0
        self._streams = self.active = False

    def connected(self, client: str) -> None:
        """Take note of the client's address."""
        self._client = client

    def begin(self, head: RequestHead | None) -> None:
        """A request has come, by its head; None stands for one that can't be read."""
        self._started_ns = monotonic_ns()
        self._first_ns = self._status = self.bytes_out = 0
        self.model = self.origin = None
        self.active = True
        if head is None or head.request_id is None:
            self.request_id = self._books.new_id()
        else:
            self.request_id = head.request_id
        if head is not self._head:
            self._head = head
            self._method, self._path = (None, None) if head is None else _named(head)

    def queued(self) -> None:
        """The request waits for its turn."""
        self._queued_ns = monotonic_ns()
        self._admitted_ns = 0

    def admitted(self) -> None:
        """Its turn has come."""
        self._admitted_ns = monotonic_ns()

    def connecting(self) -> None:
        """No connection to the backend was there; one is being made."""
        self._connecting_ns = monotonic_ns()
        self._connected_ns = 0

    def connected_backend(self) -> None:
        """The connection is made."""
        self._connected_ns = monotonic_ns()

    def backend_failed(self, kind: str) -> None:
        """A backend gave no response, or not the whole of one; `kind` is one of FAILURES."""
        row = self._counted()
        row.cells[CELL_OF_FAILURE[kind]] += 1
        row.changed = True

    def head_came(self, head: ResponseHead, body: bytes, complete: bool) -> None:
        """The head of the response came, with the first part of the body."""
        self._first_ns = monotonic_ns()
        self._status = head.status
        self.bytes_out = len(body)
        if head.reports_usage:
            if complete:
                self._whole = body
            else:
                self._last = deque((body,), TAIL_PIECES)
                self._streams = head.streams

    def piece_came(self, data: bytes) -> None:
        """The next part of the body came."""
        self.bytes_out += len(data)
        if self._last is not None:
            self._last.append(data if len(data) <= TAIL_BYTES else data[-TAIL_BYTES:])

    def relayed(self, end: str) -> None:
        """The response was relayed, as far as there was one."""
        self.end(self._status or CLIENT_LEFT, end)

    def end(self, status: int, end: str) -> None:
        """Count the request and log it; `end` says how it ended (see access_log.Entry)."""
        now = monotonic_ns()
        started, first_ns = self._started_ns, self._first_ns
        self.active = False
        model = self.model
        row = self._row if model is self._row_model and self._row else self._counted()
        cells = row.cells
        total_us = (now - started) // 1000
        cells[CELL_OF_STATUS[status]] += 1
        cells[DURATION + bisect_left(BOUNDS_US, total_us)] += 1
        cells[DURATION_SUM] += total_us
        cells[BYTES_IN] += self.bytes_in
        cells[BYTES_OUT] += self.bytes_out
        first_ms = None
        if first_ns:
            first_us = (first_ns - started) // 1000
            cells[FIRST_BYTE + bisect_left(BOUNDS_US, first_us)] += 1
            cells[FIRST_BYTE_SUM] += first_us
            first_ms = first_us / 1000
            if self._whole is not None or self._last is not None:
                self._count_tokens(cells)
        row.changed = True
        log = self._books.access_log
        if log.on:
            origin = self.origin
            if origin is not self._seen_origin:
                self._seen_origin = origin
                self._seen_backend = None if origin is None else str(origin)
            log.add(
                Entry(
                    log.date(now),
                    self.request_id.decode(),
                    self._client,
                    self._method,
                    self._path,
                    model,
                    self._seen_backend,
                    status,
                    self.bytes_in,
                    self.bytes_out,
                    self._queue_ms(now) if self._queued_ns else 0.0 if model else None,
                    self._connect_ms() if self._connecting_ns else 0.0 if first_ns else None,
                    first_ms,
                    total_us / 1000,
                    end,
                )
            )
        self._queued_ns = self._connecting_ns = self.bytes_in = 0

    def count_open(self) -> None:
        """Count what is going on now into the gauges."""
        if self.active and self.model is not None:
            row = self._counted()
            row.changed = True
            row.cells[IN_FLIGHT] += 1
            row.cells[QUEUED] += self._queued_ns > 0 and not self._admitted_ns
            row.cells[STREAMS] += self._last is not None and self._streams

    def _counted(self) -> Row:
        if self._row is None or self.model is not self._row_model:
            self._row_model = self.model
            self._row = self._books.row(NO_MODEL if self.model is None else self.model)
        return self._row

    def _queue_ms(self, now: int) -> float:
        return ((self._admitted_ns or now) - self._queued_ns) // 1000 / 1000

    def _connect_ms(self) -> float | None:
        """How long connecting took; None where it did not end well."""
        if not self._connected_ns:
            return None
        return (self._connected_ns - self._connecting_ns) // 1000 / 1000

    def _count_tokens(self, cells: list[int]) -> None:
        """Count the tokens that the response reports, and no longer keep its end."""
        usage = find_usage(self._whole or b"".join(self._last or ()))
        self._whole = self._last = None
        if usage is not None:
            cells[PROMPT_TOKENS] += usage.prompt
            cells[COMPLETION_TOKENS] += usage.completion


def _named(head: RequestHead) -> tuple[str, str]:
    """Return method and path as they are logged: ASCII, and not too long."""
    path = head.path.decode("ascii", "backslashreplace")
    if len(path) > MAX_VALUE_CHARACTERS:
        path = path[:MAX_VALUE_CHARACTERS] + "..."
    return head.method.decode("ascii", "backslashreplace"), path
