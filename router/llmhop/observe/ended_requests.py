"""Counts ended requests, and makes their entries in the access log."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from llmhop.log.faults import log_fault
from llmhop.observe.access_log import AccessLog
from llmhop.observe.log_entry import Entry
from llmhop.observe.metric_layout import (
    BYTES_IN,
    BYTES_OUT,
    COMPLETION_TOKENS,
    DURATION,
    FIRST_BYTE,
    PROMPT_TOKENS,
    STATUS_INDEX,
)
from llmhop.observe.metric_store import NO_MODEL, Row
from llmhop.observe.request_record import EndedRequest
from llmhop.observe.usage import find_usage


def count_requests(requests: Iterable[EndedRequest], row_of: Callable[[str, str], Row]) -> None:
    """Count requests; `row_of` gives the place for those of a model and a client.

    One that can't be counted is logged.
    """
    for request in requests:
        try:
            _count(request, row_of)
        except Exception as error:
            log_fault("counting a request", error)


def _count(request: EndedRequest, row_of: Callable[[str, str], Row]) -> None:
    # What may fail comes first, so that a request is counted whole or not at all.
    row = row_of(NO_MODEL if request.model is None else request.model, request.client_name)
    status = STATUS_INDEX[request.status]
    usage = find_usage(request.tail) if request.first_ns and request.tail is not None else None
    row.changed = True
    values = row.values
    total_us = (request.ns - request.started_ns) // 1000
    values[status] += 1
    DURATION.observe(values, total_us)
    values[BYTES_IN] += request.bytes_in
    values[BYTES_OUT] += request.bytes_out
    if request.first_ns:
        first_us = (request.first_ns - request.started_ns) // 1000
        FIRST_BYTE.observe(values, first_us)
    if usage is not None:
        values[PROMPT_TOKENS] += usage.prompt
        values[COMPLETION_TOKENS] += usage.completion


def log_requests(requests: Iterable[EndedRequest], log: AccessLog) -> None:
    """Log requests; only where the log is `on`. One that can't be logged is told to the log."""
    for request in requests:
        try:
            log.add(_entry(request, log))
        except Exception as error:
            log_fault("logging a request", error)


def _entry(request: EndedRequest, log: AccessLog) -> Entry:
    started, first = request.started_ns, request.first_ns
    return Entry(
        time=log.date(request.ns),
        request_id=request.request_id.decode(),
        client=request.client,
        client_name=request.client_name or None,
        method=request.method,
        path=request.path,
        model=request.model,
        backend=request.backend,
        status=request.status,
        bytes_in=request.bytes_in,
        bytes_out=request.bytes_out,
        queue_ms=_queue_ms(request),
        connect_ms=_connect_ms(request),
        first_byte_ms=(first - started) // 1000 / 1000 if first else None,
        total_ms=(request.ns - started) // 1000 / 1000,
        end=request.end,
    )


def _queue_ms(request: EndedRequest) -> float | None:
    if request.queued_ns:
        return ((request.admitted_ns or request.ns) - request.queued_ns) // 1000 / 1000
    return None if request.model is None else 0.0


def _connect_ms(request: EndedRequest) -> float | None:
    """How long connecting took; None where it did not end well."""
    if not request.connecting_ns:
        return 0.0 if request.first_ns else None
    if not request.connected_ns:
        return None
    return (request.connected_ns - request.connecting_ns) // 1000 / 1000
