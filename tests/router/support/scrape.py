"""The page of metrics, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.router.support.endpoints import ask


class Scrape:
    """What one scrape says."""

    def __init__(self, port: int, *headers: str) -> None:
        lines = ["GET /metrics HTTP/1.1", "Host: r", *headers]
        response = ask(port, "\r\n".join(lines).encode() + b"\r\n\r\n")
        assert response.status == 200, response.body
        assert response.headers["content-type"].startswith("text/plain; version=")
        self.text = response.body.decode()
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """A value, 0 where there is none."""
        return self._samples.get((name, frozenset(labels.items())), 0)
