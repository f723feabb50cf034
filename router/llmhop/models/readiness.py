"""Whether the backends answer: asks them on each GET /ready, at most once a second.

/ready is open to everybody, so asking often costs the backends nothing more. What it finds out
changes nothing about which replica gets a request.

A backend that is another llmhop is asked whether it serves the model, and asks the next one, if no
backend of its own does. Such a question goes as far as a request would, which is through MAX_HOPS
llmhops: then it is refused as one (508), and so a loop is found as one. As each llmhop asks one
question once a second, whoever wants to know, a question never becomes many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from typing import Any, TypeVar, cast

import msgspec

from llmhop.config.backend_url import BackendUrl
from llmhop.errors import LOOP
from llmhop.http.local_response import LocalResponse
from llmhop.limits import READY_AT_ONCE, READY_S
from llmhop.models.models import Models
from llmhop.models.replica import Replica
from llmhop.routing.decision import ReadinessQuery
from llmhop.routing.table import RoutingTable
from llmhop.upstream.probe import Condition, State, condition, state

Found = dict[str, list[State]]
"""Of each model, how its replicas are."""

_T = TypeVar("_T")


class _Question:
    """One that is asked now, or whose answer counts until a time."""

    __slots__ = ("task", "until")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.until = 0.0


class _Questions:
    """Asks each question once at a time, and takes its answer for a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: dict[Hashable, _Question] = {}
        self._running: set[asyncio.Task[Any]] = set()

    async def ask(self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Return the answer to the question `key`, which `begin` asks where it is not known."""
        question = self._asked.get(key)
        if question is None or (question.task.done() and self._loop.time() >= question.until):
            task = self._loop.create_task(begin())
            question = self._asked[key] = _Question(task)
            self._running.add(task)
            task.add_done_callback(lambda task: self._ended(task, question))
        # A client that disconnects must not end it for the others.
        return cast(_T, await asyncio.shield(question.task))

    def forget(self) -> None:
        """Take no answer for what is asked from now on."""
        self._asked.clear()

    def close(self) -> None:
        """End the questions that run."""
        for task in self._running:
            task.cancel()

    def _ended(self, task: asyncio.Task[Any], question: _Question) -> None:
        self._running.discard(task)
        question.until = self._loop.time() + READY_S


class Readiness:
    """Answers /ready."""

    def __init__(self, models: Models, loop: asyncio.AbstractEventLoop) -> None:
        self._models = models
        self._at_once = asyncio.Semaphore(READY_AT_ONCE)
        self._questions = _Questions(loop)
        self._table: RoutingTable | None = None

    async def answer(self, table: RoutingTable, query: ReadinessQuery) -> LocalResponse:
        """Return the answer.

        While the backends are asked, further requests wait for the same answer, which counts for
        a second.
        """
        if table is not self._table:
            self._table = table
            self._questions.forget()
        model, hops = query.model, query.hops
        if hops and model is not None:
            return _response_to_llmhop(await self._state_of(table, model, hops))
        found = await self._questions.ask("all", lambda: self._ask_all(table))
        if model is not None:
            found = {name: states for name, states in found.items() if name == model}
        return _response(found, table, query)

    def close(self) -> None:
        """End the questions that run."""
        self._questions.close()

    async def _ask_all(self, table: RoutingTable) -> Found:
        replicas = {name: b.replicas for name, b in self._models.all().items()}
        pairs = [(name, replica) for name, group in replicas.items() for replica in group]
        states = await asyncio.gather(*(self._ask(table, *pair, 0) for pair in pairs))
        found: Found = {name: [] for name in replicas}
        for (name, _), each in zip(pairs, states, strict=True):
            found[name].append(each)
        return found

    async def _state_of(self, table: RoutingTable, model: str, hops: int) -> State:
        """Ask for a model until one of its backends serves it."""
        served = self._models.all().get(model)
        if served is None:
            return State.DOWN
        replicas = served.replicas

        async def ask() -> State:
            return await _first_up([self._ask(table, model, each, hops) for each in replicas])

        return await self._questions.ask((model, hops), ask)

    async def _ask(self, table: RoutingTable, model: str, replica: Replica, hops: int) -> State:
        url, pseudonym = replica.url, table.pseudonym
        found = await self._questions.ask(url, lambda: self._condition(url, pseudonym))
        if found.state is not State.UP or not found.is_llmhop:
            return found.state
        async with self._at_once:
            return await state(url, model, pseudonym, hops)

    async def _condition(self, url: BackendUrl, pseudonym: bytes) -> Condition:
        async with self._at_once:
            return await condition(url, pseudonym)


async def _first_up(questions: Iterable[Coroutine[Any, Any, State]]) -> State:
    """Return UP as soon as one answer is, and end the other questions then.

    Else it is LOOP where every answer is, and DOWN where one is.
    """
    tasks = [asyncio.ensure_future(question) for question in questions]
    try:
        states = set()
        for task in asyncio.as_completed(tasks):
            states.add(await task)
            if State.UP in states:
                return State.UP
        return State.DOWN if State.DOWN in states else State.LOOP
    finally:
        for pending in tasks:
            pending.cancel()


def _response_to_llmhop(state: State) -> LocalResponse:
    if state is State.UP:
        return LocalResponse(200, _status("ok"))
    if state is State.LOOP:
        return LocalResponse(508, _status("loop"), unserved=LOOP)
    return LocalResponse(503, _status("down"))


def _status(word: str) -> bytes:
    return msgspec.json.encode({"status": word})


def _response(found: Found, table: RoutingTable, query: ReadinessQuery) -> LocalResponse:
    up = {name: [state is State.UP for state in states] for name, states in found.items()}
    served = bool(up) and all(map(any, up.values()))
    whole = all(map(all, up.values()))
    status = "ok" if served and whole else "degraded" if served else "down"
    answer: dict[str, object] = {"status": status}
    if query.detailed:
        answer["models"] = {
            name: {"status": _word(any(up[name])), "replicas": _replicas(states)}
            for name, states in found.items()
            if name in table.listed or name == query.model
        }
    return LocalResponse(200 if served else 503, msgspec.json.encode(answer))


def _replicas(states: Sequence[State]) -> list[dict[str, str]]:
    return [
        {"status": "down", "reason": "loop"} if state is State.LOOP else {"status": state.value}
        for state in states
    ]


def _word(up: bool) -> str:
    return "up" if up else "down"
