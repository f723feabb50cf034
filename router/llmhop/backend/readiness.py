"""Whether the backends answer: asks them when it is asked, and at most once a second.

/ready is open to everybody, so asking often costs the backends nothing more. What it finds out
changes nothing about which replica gets a request.

A backend that is another llmhop is asked whether it serves the model. Where another llmhop asks,
this one asks no third: of those it takes what is known. So questions end, however llmhops stand
behind each other, and one question never becomes many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from llmhop.backend.backends import Backends
from llmhop.backend.replica import Replica
from llmhop.config.backend_url import BackendUrl
from llmhop.http.local_response import LocalResponse
from llmhop.limits import READY_AT_ONCE, READY_S
from llmhop.origin.probe import Condition, condition, serves
from llmhop.routing.decision import ReadinessQuery
from llmhop.routing.table import RoutingTable

Found = dict[str, list[bool]]
"""Of each model, which of its replicas serve it."""


class _Round:
    """Questions to all backends: begun together, and answered for a second after their end."""

    __slots__ = ("table", "task", "until")

    def __init__(self, table: RoutingTable, task: asyncio.Task[Found]) -> None:
        self.table = table
        self.task = task
        self.until = 0.0


class Readiness:
    """Answers /ready."""

    def __init__(self, backends: Backends, loop: asyncio.AbstractEventLoop) -> None:
        self._backends = backends
        self._loop = loop
        self._at_once = asyncio.Semaphore(READY_AT_ONCE)
        self._rounds: dict[bool, _Round] = {}  # by whether other llmhops are asked further

    async def answer(self, table: RoutingTable, query: ReadinessQuery) -> LocalResponse:
        """Return the answer.

        Who asks while a round of questions runs waits for that one, and for a second after it
        gets what that one found.
        """
        deep = not query.from_llmhop
        now = self._loop.time()
        current = self._rounds.get(deep)
        if (
            current is None
            or table is not current.table
            or (current.task.done() and now >= current.until)
        ):
            task = self._loop.create_task(self._ask_all(table, deep))
            current = self._rounds[deep] = _Round(table, task)
            task.add_done_callback(lambda _: self._ended(current))
        # One who leaves must not end it for the others.
        found = await asyncio.shield(current.task)
        if query.model is not None:
            found = {name: up for name, up in found.items() if name == query.model}
        return _response(found, table, query)

    def close(self) -> None:
        """End the rounds that run."""
        for current in self._rounds.values():
            current.task.cancel()

    def _ended(self, current: _Round) -> None:
        current.until = self._loop.time() + READY_S

    async def _ask_all(self, table: RoutingTable, deep: bool) -> Found:
        replicas = {name: b.replicas for name, b in self._backends.all().items()}
        urls = list(dict.fromkeys(r.url for group in replicas.values() for r in group))

        async def ask(url: BackendUrl) -> Condition:
            async with self._at_once:
                return await condition(url, table.pseudonym)

        asked = await asyncio.gather(*map(ask, urls))
        up = {url: answer.healthy for url, answer in zip(urls, asked, strict=True)}
        fronted = {url for url, answer in zip(urls, asked, strict=True) if answer.is_llmhop}

        async def is_up(name: str, replica: Replica) -> bool:
            if not up[replica.url] or replica.url not in fronted:
                return up[replica.url]
            if not deep:
                return not replica.health.aside
            async with self._at_once:
                return await serves(replica.url, name, table.pseudonym)

        pairs = [(name, replica) for name, group in replicas.items() for replica in group]
        answers = await asyncio.gather(*(is_up(*pair) for pair in pairs))
        found: Found = {name: [] for name in replicas}
        for (name, _), answer in zip(pairs, answers, strict=True):
            found[name].append(answer)
        return found


def _response(found: Found, table: RoutingTable, query: ReadinessQuery) -> LocalResponse:
    served = bool(found) and all(map(any, found.values()))
    whole = all(map(all, found.values()))
    status = "ok" if served and whole else "degraded" if served else "down"
    answer: dict[str, object] = {"status": status}
    if query.detailed:
        answer["models"] = {
            name: {"status": _word(any(replicas)), "replicas": _replicas(replicas)}
            for name, replicas in found.items()
            if name in table.listed or name == query.model
        }
    return LocalResponse(200 if served else 503, msgspec.json.encode(answer))


def _replicas(up: Sequence[bool]) -> list[dict[str, str]]:
    return [{"status": _word(replica)} for replica in up]


def _word(up: bool) -> str:
    return "up" if up else "down"
