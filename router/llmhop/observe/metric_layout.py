"""Where each metric is stored among the values of a model, and among those of a process.

All are whole numbers, so that one struct holds them: times are microseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from http import HTTPStatus
from typing import Final

BOUNDS_US: Final = tuple(
    round(seconds * 1_000_000)
    for seconds in (
        *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
        *(10, 20, 30, 60, 120, 300, 600),
    )
)
"""Upper bounds of the buckets of a histogram of times, in microseconds."""

CLIENT_LEFT: Final = 499
"""The status of a request whose client left before the head of a response, as nginx has it."""

FAILURES: Final = (
    "connect",
    "connect_timeout",
    "certificate",
    "response_timeout",
    "read_timeout",
    "closed",
    "invalid_response",
    "unserved",
)
"""How backends fail: not reached, or not in time; not trusted; sent no response in time, or no more
of one; closed the connection; broke the rules of HTTP; was an llmhop that could not serve the
request."""

STATUSES: Final = tuple(
    [str(int(status)) for status in HTTPStatus]
    + [str(CLIENT_LEFT), "1xx", "2xx", "3xx", "4xx", "5xx"]
)
"""Labels. A status that is not registered is counted under its class, so that they stay few.

Of those below 200, only 101 ends a request: the connection became a WebSocket."""

REFUSALS: Final = ("buffered_bytes", "connections", "upload_rate", "shutting_down")
"""Why clients are refused that did nothing wrong, or hardly: maxBufferedBytes, maxConnections,
minUploadRate, a drain."""


class Histogram:
    """Where a histogram is stored: its buckets from index `first`, and the sum of what it counts.

    It counts whole numbers, of which `scale` make one of the unit on the page. `bounds` are the
    upper bounds of its buckets; one more bucket takes what is larger.
    """

    __slots__ = ("bounds", "first", "scale", "sum")

    def __init__(self, first: int, bounds: tuple[int, ...], scale: int) -> None:
        self.first = first
        self.sum = first + len(bounds) + 1
        self.bounds = bounds
        self.scale = scale

    def observe(self, values: list[int], value: int) -> None:
        """Count `value` among the values of a model."""
        values[self.first + bisect_left(self.bounds, value)] += 1
        values[self.sum] += value


class _Layout:
    """Assigns indices, one after the other."""

    def __init__(self) -> None:
        self.size = 0

    def add(self, count: int = 1) -> int:
        """Reserve `count` indices and return the first."""
        start = self.size
        self.size += count
        return start

    def add_histogram(self, bounds: tuple[int, ...], scale: int) -> Histogram:
        """Reserve the indices of a histogram."""
        return Histogram(self.add(len(bounds) + 2), bounds, scale)


# The values of a model, gauges first.
_model = _Layout()
IN_FLIGHT: Final = _model.add()
QUEUED: Final = _model.add()
STREAMS: Final = _model.add()
GAUGES: Final = range(_model.size)
BYTES_IN: Final = _model.add()
BYTES_OUT: Final = _model.add()
PROMPT_TOKENS: Final = _model.add()
COMPLETION_TOKENS: Final = _model.add()
FAILURE: Final = _model.add(len(FAILURES))
DURATION: Final = _model.add_histogram(BOUNDS_US, 1_000_000)
FIRST_BYTE: Final = _model.add_histogram(BOUNDS_US, 1_000_000)
STATUS: Final = _model.add(len(STATUSES))
MODEL_VALUES: Final = _model.size

# Those of a process, gauges first.
_process = _Layout()
CONNECTIONS: Final = _process.add()
BUFFERED_BYTES: Final = _process.add()
PROCESS_GAUGES: Final = range(_process.size)
RELOADS: Final = _process.add()
FAILED_RELOADS: Final = _process.add()
DROPPED_LINES: Final = _process.add()
DROPPED_LOG_LINES: Final = _process.add()
WORKER_RESTARTS: Final = _process.add()
REFUSAL: Final = _process.add(len(REFUSALS))
PROCESS_VALUES: Final = _process.size


def _status_index(status: int) -> int:
    exact = str(status)
    return STATUS + STATUSES.index(exact if exact in STATUSES else f"{status // 100}xx")


STATUS_INDEX: Final = {status: _status_index(status) for status in range(100, 600)}
"""By status; response_reader lets no other one pass."""

REFUSAL_INDEX: Final = {reason: REFUSAL + index for index, reason in enumerate(REFUSALS)}

FAILURE_INDEX: Final = {kind: FAILURE + index for index, kind in enumerate(FAILURES)}
