"""Models with several backends, and backends that give no answer."""

from __future__ import annotations

import asyncio
from typing import Any

from llmhop.models.models import Model

from tests.router.support.endpoints import (
    Backend,
    Received,
    RunningRouter,
)


def replicas(*backends: Backend, **more: Any) -> dict[str, Any]:
    return {"m": {"urls": [backend.url for backend in backends], **more}}


def counts(*backends: Backend) -> list[int]:
    return [len(backend.requests) for backend in backends]


def backend_of(router: RunningRouter) -> Model:
    return router.server.models.all()["m"]


def outstanding(router: RunningRouter) -> list[int]:
    return router.thread.call(lambda: [pool.outstanding for pool in backend_of(router).pools])


async def leave(request: Received, writer: asyncio.StreamWriter) -> None:
    """Close in place of an answer, as what publishes a port does before anything listens."""
    writer.close()


async def break_off(request: Received, writer: asyncio.StreamWriter) -> None:
    """Begin an answer and close."""
    writer.write(b"HTTP/1.1 200 ")
    writer.close()
