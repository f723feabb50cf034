"""What a process observes of its requests, and where that goes: request ids, log and metrics."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import count

from llmhop.config.config import AccessLogFormat
from llmhop.log.faults import attempt, attempt_each
from llmhop.log.logger import LOG
from llmhop.observe.access_log import AccessLog
from llmhop.observe.ended_requests import count_requests, log_requests
from llmhop.observe.metric_layout import (
    BUFFERED_BYTES,
    CONNECTIONS,
    DROPPED_LINES,
    DROPPED_LOG_LINES,
    FAILED_RELOADS,
    REFUSAL_INDEX,
    RELOADS,
)
from llmhop.observe.metric_store import Metrics, MetricStore, Row
from llmhop.observe.request_record import EndedRequest, RequestRecord

_STDOUT = 1


class Observer:
    """Shared by the connections of a process. Implements observe.request_record.Recorder."""

    def __init__(self, metrics: Metrics, format_: AccessLogFormat) -> None:
        # Without a standard output, its number may be that of any file.
        self.access_log = AccessLog(None if sys.__stdout__ is None else _STDOUT, format_)
        self._metrics = metrics
        self.ended: list[EndedRequest] = []
        # Told apart from those of other processes, of other hosts, and from before a restart.
        prefix = os.urandom(8).hex() + "-"
        # All in C: a Python function would take twice the time.
        self.new_id = map(f"{prefix}%d".encode().__mod__, count(1)).__next__

    @property
    def store(self) -> MetricStore:
        """The numbers of all processes."""
        return self._metrics.store

    def new_record(self) -> RequestRecord:
        """Return the record of a new connection."""
        return RequestRecord(self)

    def row(self, model: str, client: str) -> Row:
        """Return where the requests of a client for a model are counted."""
        return self._metrics.row(model, client)

    def flush_records(self) -> None:
        """Count and log what has ended. Raises nothing, as it is within anybody's request."""
        # Each is settled once, whatever becomes of it.
        ended, self.ended = self.ended, []
        count_requests(ended, self._metrics.row)
        if self.access_log.on:
            log_requests(ended, self.access_log)

    def refused(self, reason: str) -> None:
        """A limit refused a request or a connection; `reason` is one of REFUSALS."""
        self._metrics.process[REFUSAL_INDEX[reason]] += 1

    def reloaded(self, good: bool) -> None:
        """A new config was taken, or refused."""
        self._metrics.process[RELOADS if good else FAILED_RELOADS] += 1

    def change_log(self, format_: AccessLogFormat) -> None:
        """Write the access log in another format from now on."""
        self.flush_records()
        self.access_log.change(format_)

    def sweep(self, records: Iterable[RequestRecord], buffered_bytes: int) -> None:
        """Write and publish what came since the last sweep, see `publish`."""
        self.flush_records()
        attempt("the clock of the access log", self.access_log.set_clock)
        attempt("writing the access log", self.access_log.flush)
        LOG.sweep()
        attempt("publishing the metrics", lambda: self.publish(records, buffered_bytes))

    def publish(self, records: Iterable[RequestRecord], buffered_bytes: int) -> None:
        """Let the other processes see what this one has counted.

        `records` are of all clients, `buffered_bytes` what their requests take in memory.
        """
        self.flush_records()
        process = self._metrics.process
        process[BUFFERED_BYTES] = buffered_bytes
        process[CONNECTIONS] = 0
        self._metrics.clear_gauges()
        process[DROPPED_LINES] += self.access_log.take_dropped()
        process[DROPPED_LOG_LINES] += LOG.take_dropped()
        attempt_each("counting a client", records, self._count_client)
        self._metrics.publish()

    def _count_client(self, record: RequestRecord) -> None:
        self._metrics.process[CONNECTIONS] += 1
        record.count_open()

    def close(self) -> None:
        """Write and publish the last of it."""
        self.flush_records()
        attempt("closing the access log", self.access_log.close)
        attempt("publishing the metrics", lambda: self.publish((), 0))


def single_process() -> Metrics:
    """Return metrics for a process that has no others beside it."""
    return Metrics(MetricStore(1), 0, os.getpid())
