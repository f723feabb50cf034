"""Which numbers are kept of a model's requests, and where each stands among them.

All are whole numbers, so that one struct holds them: times are microseconds.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

BOUNDS_US: Final = tuple(
    round(seconds * 1_000_000)
    for seconds in (
        *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
        *(10, 20, 30, 60, 120, 300, 600),
    )
)
"""Upper bounds of the histograms' buckets; one more bucket takes what is longer."""

CLIENT_LEFT: Final = 499
"""The status of a request whose client left before the head of a response, as nginx has it."""

FAILURES: Final = (
    "connect",
    "connect_timeout",
    "response_timeout",
    "read_timeout",
    "closed",
    "invalid_response",
    "unserved",
)
"""How backends fail: not reached, or not in time; sent no response in time, or no more of one;
closed the connection; broke the rules of HTTP; was an llmhop that could not serve the
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

# Gauges first.
IN_FLIGHT: Final = 0
QUEUED: Final = 1
STREAMS: Final = 2
GAUGES: Final = range(3)

BYTES_IN: Final = 3
BYTES_OUT: Final = 4
PROMPT_TOKENS: Final = 5
COMPLETION_TOKENS: Final = 6
FAILURE: Final = 7
DURATION: Final = FAILURE + len(FAILURES)
DURATION_SUM: Final = DURATION + len(BOUNDS_US) + 1
FIRST_BYTE: Final = DURATION_SUM + 1
FIRST_BYTE_SUM: Final = FIRST_BYTE + len(BOUNDS_US) + 1
STATUS: Final = FIRST_BYTE_SUM + 1
CELLS: Final = STATUS + len(STATUSES)

# The numbers of a process.
CONNECTIONS: Final = 0
BUFFERED_BYTES: Final = 1
PROCESS_GAUGES: Final = range(2)
RELOADS: Final = 2
FAILED_RELOADS: Final = 3
DROPPED_LINES: Final = 4
DROPPED_LOG_LINES: Final = 5
WORKER_RESTARTS: Final = 6
REFUSAL: Final = 7
PROCESS_CELLS: Final = REFUSAL + len(REFUSALS)


def _status_cell(status: int) -> int:
    exact = str(status)
    return STATUS + STATUSES.index(exact if exact in STATUSES else f"{status // 100}xx")


CELL_OF_STATUS: Final = {status: _status_cell(status) for status in range(100, 600)}
"""By status; response_reader lets no other one pass."""

CELL_OF_REFUSAL: Final = {reason: REFUSAL + index for index, reason in enumerate(REFUSALS)}

CELL_OF_FAILURE: Final = {kind: FAILURE + index for index, kind in enumerate(FAILURES)}
