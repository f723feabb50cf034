"""What the connections of clients share: the server that they belong to, as they see it."""

from __future__ import annotations

from typing import Protocol

from llmhop.client.connection_limit import ConnectionLimit
from llmhop.client.memory_budget import Budget
from llmhop.client.work_queue import WorkQueue
from llmhop.http.local_response import LocalResponse
from llmhop.models.models import Models
from llmhop.models.readiness import Readiness
from llmhop.observe.observer import Observer
from llmhop.quota.quotas import Quotas
from llmhop.routing.table import RoutingTable


class ServerContext(Protocol):
    """The server as its clients' connections use it. `now` is loop time, as of the last sweep."""

    table: RoutingTable
    models: Models
    readiness: Readiness
    observer: Observer
    budget: Budget
    quotas: Quotas
    connection_limit: ConnectionLimit
    work: WorkQueue
    draining: bool
    now: float

    async def metrics_page(self) -> LocalResponse:
        """Return the page for Prometheus."""
