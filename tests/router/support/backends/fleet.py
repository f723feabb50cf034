"""Hosts with an engine and an llmhop each, and an llmhop in front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.router.support import endpoints as support
from tests.router.support.endpoints import Backend, Response, RunningRouter, wait_until

CLOSED = "http://127.0.0.1:1"


def ask(port: int, raw: bytes) -> Response:
    response = support.ask(port, raw)
    assert "proxy-status" not in response.headers
    return response


@dataclass
class Host:
    """A host with an engine and the llmhop before it."""

    engine: Backend
    router: RunningRouter
    model: str = "m"
    tokens: tuple[str, ...] = ()

    def up(self) -> None:
        self._serve({self.model: {"url": self.engine.url}})

    def engine_down(self) -> None:
        self._serve({self.model: {"url": CLOSED}})

    def without_the_model(self) -> None:
        self._serve({"another": {"url": self.engine.url}})

    def full(self) -> None:
        self._serve({self.model: {"url": self.engine.url, "maxConcurrent": 1, "maxQueued": 0}})
        gate = self.router.server.models.all()[self.model].gate
        assert gate is not None
        self.router.thread.call(gate.enter)

    def _serve(self, models: dict[str, Any]) -> None:
        self.router.reload({"models": models, "authTokens": list(self.tokens)})


@dataclass
class Fleet:
    """Two hosts, and an llmhop in front."""

    hosts: list[Host]
    front: RunningRouter

    def served(self) -> list[int]:
        return [len(host.engine.requests) for host in self.hosts]

    def come_back(self) -> None:
        """Have the front ask again what it ejected, though its time has not come."""
        backend = self.front.server.models.all()["m"]
        for replica in backend.replicas:
            health = replica.health
            self.front.thread.call(lambda health=health: setattr(health, "_probe_at", 0.0))  # type: ignore[misc]
        self.front.sweep_after(0)
        wait_until(
            lambda: not self.front.thread.call(lambda: any(r.probing for r in backend.replicas))
        )
