"""Whether the backends answer: asks them when it is asked, and at most once a second.

/ready is open to everybody, so asking often costs the backends nothing more. What it finds out
changes nothing about which replica gets a request.
"""

from __future__ import annotations

import asyncio

import msgspec

from llmhop.backends import Backends
from llmhop.limits import READY_S
from llmhop.local_response import Page
from llmhop.probe import is_healthy
from llmhop.routing import Table

Report = tuple[int, bytes, bytes]
"""The status of the response, its body in short, and its body with the models."""


class Readiness:
    """Answers /ready."""

    def __init__(self, backends: Backends, loop: asyncio.AbstractEventLoop) -> None:
        self._backends = backends
        self._loop = loop
        self._round: asyncio.Task[Report] | None = None
        self._table: Table | None = None
        self._until = 0.0

    async def answer(self, table: Table, detailed: bool) -> Page:
        """Return the answer; `detailed` asks for the models by name.

        Who asks while a round of questions runs waits for that one, and for a second after it
        gets what that one found.
        """
        now = self._loop.time()
        running = self._round
        if running is None or table is not self._table or (running.done() and now >= self._until):
            running = self._round = self._loop.create_task(self._look(table))
            self._table = table
        # One who leaves must not end it for the others.
        status, short, long = await asyncio.shield(running)
        return Page(status, long if detailed else short)

    def close(self) -> None:
        """End a round that runs."""
        if self._round is not None:
            self._round.cancel()

    async def _look(self, table: Table) -> Report:
        urls = {name: b.config.urls for name, b in self._backends.all().items()}
        asked = list(dict.fromkeys(url for group in urls.values() for url in group))
        up = dict(zip(asked, await asyncio.gather(*map(is_healthy, asked)), strict=True))
        self._until = self._loop.time() + READY_S
        found = {name: [up[url] for url in group] for name, group in urls.items()}
        ready = all(map(any, found.values()))
        whole = all(map(all, found.values()))
        status = "ok" if whole else "degraded" if ready else "down"
        models = {
            name: {
                "status": _word(any(replicas)),
                "replicas": [{"status": _word(replica)} for replica in replicas],
            }
            for name, replicas in found.items()
            if name in table.listed
        }
        short = msgspec.json.encode({"status": status})
        long = msgspec.json.encode({"status": status, "models": models})
        return 200 if ready else 503, short, long


def _word(up: bool) -> str:
    return "up" if up else "down"
