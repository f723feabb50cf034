"""The page at /metrics, in the text format of Prometheus: the sum over all processes.

prometheus_client takes 40 ms and more to import, so only who asks for the page has it imported:
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
from llmhop.observe.metric_store import MetricStore, Slot

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()

_MODEL = ("model",)

Models = dict[str, list[int]]


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
        models = _summed(self._slots)
        yield from _requests(models)
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
        yield from _of_llmhop([slot.process for slot in self._slots])
        yield from _of_processes(self._slots)


def _summed(slots: list[Slot]) -> Models:
    models: Models = {}
    for slot in slots:
        for name, values in slot.models.items():
            sums = models.setdefault(name, [0] * MODEL_VALUES)
            models[name] = [a + b for a, b in zip(sums, values, strict=True)]
    return models


def _requests(models: Models) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "llmhop_requests",
        "Requests that were answered, by model and status; 499 where the client left before. "
        "Those that reach no model have an empty one.",
        labels=("model", "status"),
    )
    failures = CounterMetricFamily(
        "llmhop_backend_failures",
        "Failures of backends, those that another replica made good included.",
        labels=("model", "kind"),
    )
    for name, values in models.items():
        for index, status in enumerate(metric_layout.STATUSES):
            value = values[metric_layout.STATUS + index]
            if value:
                requests.add_metric((name, status), value)
        for kind, index in metric_layout.FAILURE_INDEX.items():
            if name:
                failures.add_metric((name, kind), values[index])
    yield requests
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
        family = GaugeMetricFamily(f"llmhop_{gauge}", text, labels=_MODEL)
        for name, values in models.items():
            if name:
                family.add_metric((name,), values[index])
        yield family


def _histogram(name: str, text: str, models: Models, histogram: Histogram) -> Metric:
    bounds = (*[f"{bound / histogram.scale:g}" for bound in histogram.bounds], "+Inf")
    family = HistogramMetricFamily(name, text, labels=_MODEL)
    for model, values in models.items():
        total = 0
        buckets = []
        for index, bound in enumerate(bounds):
            total += values[histogram.first + index]
            buckets.append((bound, float(total)))
        if total:
            family.add_metric((model,), buckets, values[histogram.sum] / histogram.scale)
    return family


def _sizes(models: Models) -> Iterator[Metric]:
    for name, index, text in (
        ("request_bytes", metric_layout.BYTES_IN, "Bytes of request bodies."),
        ("response_bytes", metric_layout.BYTES_OUT, "Bytes of response bodies."),
    ):
        family = CounterMetricFamily(f"llmhop_{name}", text, labels=_MODEL)
        for model, values in models.items():
            family.add_metric((model,), values[index])
        yield family
    tokens = CounterMetricFamily(
        "llmhop_tokens",
        "Tokens of prompts and of completions, as far as responses report usage.",
        labels=("model", "type"),
    )
    for model, values in models.items():
        if model:
            tokens.add_metric((model, "prompt"), values[metric_layout.PROMPT_TOKENS])
            tokens.add_metric((model, "completion"), values[metric_layout.COMPLETION_TOKENS])
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
