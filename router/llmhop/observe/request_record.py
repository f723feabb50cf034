"""What is recorded of a request: its id, its times and sizes, and how it ended.

A connection has one record for its requests, one after the other. `begin` and `end` frame each;
what lies between may be left out. At the end only a note is made: it is read later, many at once
(see ended_requests), because code that ran a moment before costs a third of what it costs in
between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Final, Protocol

from llmhop.http.parsed_head import RequestHead, ResponseHead
from llmhop.http.refused_head import read_refused
from llmhop.observe.access_log import MAX_VALUE_CHARACTERS
from llmhop.observe.metric_layout import CLIENT_LEFT, FAILURE_INDEX, IN_FLIGHT, QUEUED, STREAMS
from llmhop.observe.metric_store import NO_MODEL, Row
from llmhop.observe.usage import TAIL_BYTES, TAIL_PIECES, find_usage
from llmhop.quota.quota import Quota

MAX_ENDED: Final = 256
"""So many requests wait to be counted, at most: about 1 MB, and a stop of about 1 ms."""


class EndedRequest:
    """A request that is over. Times are of the monotonic clock; 0 stands for what did not happen.

    `end` is what log_entry.Entry says of it. `tail` is the end of a response that may report
    tokens. No msgspec.Struct: what is compiled here is made and read by others in half the time.
    """

    ns: int = 0
    started_ns: int = 0
    first_ns: int = 0
    queued_ns: int = 0
    admitted_ns: int = 0
    connecting_ns: int = 0
    connected_ns: int = 0
    request_id: bytes = b""
    client: str = "unknown"
    client_name: str = ""
    method: str | None = None
    path: str | None = None
    model: str | None = None
    backend: str | None = None
    status: int = CLIENT_LEFT
    bytes_in: int = 0
    bytes_out: int = 0
    tail: bytes | None = None
    end: str = ""


class Recorder(Protocol):
    """What the records of a process share."""

    ended: list[EndedRequest]
    """To be settled with each sweep, and when they are MAX_ENDED."""

    new_id: Callable[[], bytes]
    """Returns an id that no other request has."""

    def flush_records(self) -> None:
        """Count and log what has ended."""

    def row(self, model: str, client: str) -> Row:
        """Return where the requests of a client for a model are counted."""


class RequestRecord:
    """The record of a connection's current request. `active` is between `begin` and `end`.

    Whoever knows sets `client_name`, that of who sent the request, if it has one; `quota`, which
    the request has been counted into, and out of at its end; `model` and
    `backend`, the name of the one that gets the request; `bytes_in`,
    what has come of its body, without chunks' framing; `bytes_out`, of the response's, with it.
    `request_id` is there from `begin` until the next one. `status` is that of the response,
    CLIENT_LEFT before there is one. While a response comes in pieces, the end of each goes to
    `last`, if that is not None.
    """

    __slots__ = (
        "_admitted_ns",
        "_client",
        "_connected_ns",
        "_connecting_ns",
        "_first_ns",
        "_head",
        "_method",
        "_path",
        "_queued_ns",
        "_recorder",
        "_started_ns",
        "_streams",
        "_tail",
        "active",
        "backend",
        "bytes_in",
        "bytes_out",
        "client_name",
        "last",
        "model",
        "quota",
        "request_id",
        "status",
    )

    request_id: bytes
    bytes_out: int
    client_name: str
    model: str | None
    backend: str | None
    status: int
    _started_ns: int
    _first_ns: int

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._client = "unknown"
        self._head: RequestHead | None = None
        self._method: str | None = None
        self._path: str | None = None
        self._tail: bytes | None = None
        self.last: deque[bytes] | None = None
        self._queued_ns = self._admitted_ns = self._connecting_ns = self._connected_ns = 0
        self.bytes_in = 0
        self._streams = self.active = False
        self.quota: Quota | None = None

    def connected(self, client: str) -> None:
        """Take note of the client's address."""
        self._client = client

    def begin_refused(self, raw: bytes, waited_s: float) -> None:
        """A request has come whose head was refused, after so many seconds; `raw` is of it."""
        self.begin(None)
        self._started_ns -= int(waited_s * 1e9)
        refused = read_refused(raw)
        if refused.request_id is not None:
            self.request_id = refused.request_id
        self._method, self._path = _logged(refused.method), _logged(refused.path)

    def begin(self, head: RequestHead | None) -> None:
        """A request has come, by its head; None stands for one that can't be read."""
        self._started_ns = monotonic_ns()
        self._first_ns = self.bytes_out = 0
        self.status = CLIENT_LEFT
        self.model = self.backend = None
        self.client_name = ""
        self.active = True
        if head is None or head.request_id is None:
            self.request_id = self._recorder.new_id()
        else:
            self.request_id = head.request_id
        if head is not self._head:
            self._head = head
            self._method, self._path = (None, None) if head is None else _named(head)

    def queued(self) -> None:
        """The request waits at the gate."""
        self._queued_ns = monotonic_ns()
        self._admitted_ns = 0

    def admitted(self) -> None:
        """The gate has let it in."""
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
        row = self._row()
        row.values[FAILURE_INDEX[kind]] += 1
        row.changed = True

    def response_started(self, head: ResponseHead, body: bytes, complete: bool) -> None:
        """The head of the response came, with the first part of the body."""
        self._first_ns = monotonic_ns()
        self.status = head.status
        self.bytes_out = len(body)
        if head.reports_usage:
            if complete:
                self._tail = body if len(body) <= TAIL_BYTES else body[-TAIL_BYTES:]
            else:
                self.last = deque((body[-TAIL_BYTES:],), TAIL_PIECES)
                self._streams = head.streams

    def end(self, status: int, end: str) -> None:
        """Note that the request is over; `end` says how it ended (see log_entry.Entry)."""
        if self.last is not None:
            self._tail = b"".join(self.last)[-TAIL_BYTES:]
            self.last = None
        request = EndedRequest()
        request.ns = monotonic_ns()
        request.started_ns = self._started_ns
        request.first_ns = self._first_ns
        request.queued_ns = self._queued_ns
        request.admitted_ns = self._admitted_ns
        request.connecting_ns = self._connecting_ns
        request.connected_ns = self._connected_ns
        request.request_id = self.request_id
        request.client = self._client
        request.client_name = self.client_name
        request.method = self._method
        request.path = self._path
        request.model = self.model
        request.backend = self.backend
        request.status = status
        request.bytes_in = self.bytes_in
        request.bytes_out = self.bytes_out
        request.tail = self._tail
        if self.quota is not None:
            self._leave_quota(self.quota)
        request.end = end
        recorder = self._recorder
        ended = recorder.ended
        ended.append(request)
        self._tail = None
        self._queued_ns = self._connecting_ns = self.bytes_in = 0
        self.active = False
        if len(ended) >= MAX_ENDED:
            recorder.flush_records()

    def _leave_quota(self, quota: Quota) -> None:
        """Count the request out at once, as the next one may be on its way already."""
        self.quota = None
        quota.leave()
        usage = find_usage(self._tail) if self._first_ns and self._tail is not None else None
        if usage is not None:
            quota.charge(usage.prompt + usage.completion)

    def count_open(self) -> None:
        """Count what is going on now into the gauges."""
        if self.active and self.model is not None:
            row = self._row()
            row.changed = True
            row.values[IN_FLIGHT] += 1
            row.values[QUEUED] += self._queued_ns > 0 and not self._admitted_ns
            row.values[STREAMS] += self.last is not None and self._streams

    def _row(self) -> Row:
        return self._recorder.row(NO_MODEL if self.model is None else self.model, self.client_name)


def _named(head: RequestHead) -> tuple[str, str]:
    """Return method and path as they are logged: ASCII, and not too long."""
    return _shown(head.method), _shown(head.path)


def _logged(value: bytes | None) -> str | None:
    return None if value is None else _shown(value)


def _shown(value: bytes) -> str:
    text = value.decode("ascii", "backslashreplace")
    return text if len(text) <= MAX_VALUE_CHARACTERS else text[:MAX_VALUE_CHARACTERS] + "..."
