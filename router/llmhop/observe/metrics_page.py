"""The page at /metrics, in the text format of Prometheus: the sum over all processes.

prometheus_client takes 40 ms and more to import, so it is imported only once the page is requested:
import this module late, and in a thread.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from llmhop import __version__
from llmhop.observe import metric_layout
from llmhop.observe.metric_layout import MODEL_VALUES, Histogram
from llmhop.observe.metric_store import NO_MODEL, MetricStore, RowName, Slot

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()


Rows = dict[RowName, list[int]]


def render_page(store: MetricStore) -> bytes:
    """Return the page."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(list(store.read())))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, slots: list[Slot]) -> None:
        self._slots = slots

    def collect(self) -> Iterator[Metric]:
        """Give every metric."""
        rows = _summed(self._slots)
        models = _by_model(rows)
        yield from _requests(rows)
        yield from _of_models(models)
        yield _histogram(
            "llmhop_request_duration_seconds",
            "From the head of a request to the last of its response.",
            models,
            metric_layout.DURATION,
        )
        yield _histogram(
            "llmhop_time_to_first_byte_seconds",
            "From the head of a request to the first byte of its backend's response.",
            models,
            metric_layout.FIRST_BYTE,
        )
        yield from _sizes(models)
        yield from _tokens(rows)
        yield from _of_llmhop([slot.process for slot in self._slots])
        yield from _of_processes(self._slots)


def _summed(slots: list[Slot]) -> Rows:
    rows: Rows = {}
    for slot in slots:
        for name, values in slot.rows.items():
            sums = rows.setdefault(name, [0] * MODEL_VALUES)
            rows[name] = [a + b for a, b in zip(sums, values, strict=True)]
    return rows


def _by_model(rows: Rows) -> Rows:
    """Add up the clients of each model, as a page with all numbers of each would take seconds."""
    models: Rows = {}
    for (model, _), values in rows.items():
        sums = models.get((model, ""), [0] * MODEL_VALUES)
        models[model, ""] = [a + b for a, b in zip(sums, values, strict=True)]
    return models


def _labels(name: RowName, **others: str) -> dict[str, str]:
    """Return the labels of a row; `client` where it has a name, as an empty label is none."""
    model, client = name
    return {"model": model, **({"client": client} if client else {}), **others}


def _requests(rows: Rows) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "llmhop_requests",
        "Requests that were answered, by model and status; 499 where the client left before. "
        "Those that reach no model have an empty one.",
        labels=(),
    )
    for name, values in rows.items():
        for index, status in enumerate(metric_layout.STATUSES):
            value = values[metric_layout.STATUS + index]
            if value:
                requests.add_sample(f"{requests.name}_total", _labels(name, status=status), value)
    yield requests


def _of_models(rows: Rows) -> Iterator[Metric]:
    failures = CounterMetricFamily(
        "llmhop_backend_failures",
        "Failures of backends, those that another replica made good included.",
        labels=(),
    )
    for name, values in rows.items():
        for kind, index in metric_layout.FAILURE_INDEX.items():
            if _has_model(name):
                failures.add_sample(
                    f"{failures.name}_total", _labels(name, kind=kind), values[index]
                )
    yield failures
    for gauge, index, text in (
        (
            "requests_in_flight",
            metric_layout.IN_FLIGHT,
            "Requests for a model that are not answered yet, queued ones included.",
        ),
        ("requests_queued", metric_layout.QUEUED, "Requests that wait for their turn now."),
        ("streams_open", metric_layout.STREAMS, "Streams of events that are relayed now."),
    ):
        family = GaugeMetricFamily(f"llmhop_{gauge}", text, labels=())
        for name, values in rows.items():
            if _has_model(name):
                family.add_sample(family.name, _labels(name), values[index])
        yield family


def _has_model(name: RowName) -> bool:
    return name[0] != NO_MODEL


def _histogram(name: str, text: str, rows: Rows, histogram: Histogram) -> Metric:
    bounds = (*[f"{bound / histogram.scale:g}" for bound in histogram.bounds], "+Inf")
    family = HistogramMetricFamily(name, text, labels=())
    for row, values in rows.items():
        total = 0
        counts = []
        for index, bound in enumerate(bounds):
            total += values[histogram.first + index]
            counts.append((bound, total))
        if total:
            for bound, count in counts:
                family.add_sample(f"{name}_bucket", _labels(row, le=bound), count)
            family.add_sample(f"{name}_count", _labels(row), total)
            family.add_sample(f"{name}_sum", _labels(row), values[histogram.sum] / histogram.scale)
    return family


def _sizes(rows: Rows) -> Iterator[Metric]:
    for name, index, text in (
        ("request_bytes", metric_layout.BYTES_IN, "Bytes of request bodies."),
        ("response_bytes", metric_layout.BYTES_OUT, "Bytes of response bodies."),
    ):
        family = CounterMetricFamily(f"llmhop_{name}", text, labels=())
        for row, values in rows.items():
            family.add_sample(f"{family.name}_total", _labels(row), values[index])
        yield family


def _tokens(rows: Rows) -> Iterator[Metric]:
    tokens = CounterMetricFamily(
        "llmhop_tokens",
        "Tokens of prompts and of completions, as far as responses report usage.",
        labels=(),
    )
    for row, values in rows.items():
        if _has_model(row):
            for kind, index in (
                ("prompt", metric_layout.PROMPT_TOKENS),
                ("completion", metric_layout.COMPLETION_TOKENS),
            ):
                tokens.add_sample(f"{tokens.name}_total", _labels(row, type=kind), values[index])
    yield tokens


def _of_llmhop(processes: list[list[int]]) -> Iterator[Metric]:
    sums = [sum(values) for values in zip(*processes, strict=True)]
    for name, index, text in (
        ("client_connections", metric_layout.CONNECTIONS, "Clients' connections."),
        (
            "buffered_bytes",
            metric_layout.BUFFERED_BYTES,
            "Memory for request bodies, of which maxBufferedBytes is the limit.",
        ),
    ):
        yield GaugeMetricFamily(f"llmhop_{name}", text, sums[index])
    refusals = CounterMetricFamily(
        "llmhop_refusals",
        "Requests and connections that a limit of llmhop refused, by reason.",
        labels=("reason",),
    )
    for reason, index in metric_layout.REFUSAL_INDEX.items():
        refusals.add_metric((reason,), sums[index])
    yield refusals
    reloads = CounterMetricFamily(
        "llmhop_config_reloads", "Configs that were read anew, by result.", labels=("result",)
    )
    reloads.add_metric(("success",), sums[metric_layout.RELOADS])
    reloads.add_metric(("failure",), sums[metric_layout.FAILED_RELOADS])
    yield reloads
    for name, index, text in (
        (
            "access_log_dropped_lines",
            metric_layout.DROPPED_LINES,
            "Lines of the access log that could not be written.",
        ),
        (
            "log_dropped_lines",
            metric_layout.DROPPED_LOG_LINES,
            "Lines of the log on standard error that could not be written.",
        ),
        ("worker_restarts", metric_layout.WORKER_RESTARTS, "Workers that ended and were replaced."),
    ):
        yield CounterMetricFamily(f"llmhop_{name}", text, sums[index])
    build = GaugeMetricFamily(
        "llmhop_build_info", "Always 1; which program this is.", labels=("version", "python")
    )
    build.add_metric((__version__, platform.python_version()), 1)
    yield build


def _of_processes(slots: list[Slot]) -> Iterator[Metric]:
    """Give prometheus_client's own process metrics, with the worker as a label."""
    families: dict[str, Metric] = {}
    for number, slot in enumerate(slots):
        if not slot.process_id:
            continue
        process_id = slot.process_id
        collector = ProcessCollector(pid=lambda: process_id, registry=None)  # noqa: B023 - used now
        for metric in collector.collect():
            family = families.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            for sample in metric.samples:
                family.add_sample(sample.name, {"worker": str(number)}, sample.value)
    yield from families.values()
