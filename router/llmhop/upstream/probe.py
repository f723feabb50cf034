"""Probes whether a backend serves HTTP: GET /health, on a connection of its own.

A connection alone proves nothing: the port of a container accepts connections before anything in
it listens. A coroutine, and so not compiled (see connect).
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import NamedTuple, cast
from urllib.parse import quote

from llmhop.config.backend_url import BackendUrl, Origin
from llmhop.errors import LOOP, BackendError
from llmhop.http.fields.via import UNNAMED, via_line
from llmhop.http.local_response import SERVER
from llmhop.http.parsed_head import ResponseHead
from llmhop.http.response_reader import ResponseReader
from llmhop.limits import PROBE_TIMEOUT_S
from llmhop.routing.target import split_route
from llmhop.upstream.connect import connect

_REQUEST = b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: llmhop\r\n%bConnection: close\r\n\r\n"
_PATH = b"/health"
_FAULTS = (OSError, UnicodeError, BackendError)


class _Probe(asyncio.Protocol):
    """Sends a request and waits for the head of its response."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._reader = ResponseReader()
        self.head: asyncio.Future[ResponseHead] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.head.done():
            return
        try:
            self._reader.feed_head(data)
            while (head := self._reader.read_head()) is not None:
                if head.status >= 200:
                    self.head.set_result(head)
                    return
        except BackendError as error:
            self.head.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.head.done():
            self.head.set_exception(BackendError("closed the connection"))


async def ask(
    origin: Origin, host: str, target: bytes, pseudonym: bytes = b"", hops: int = 0
) -> ResponseHead:
    """Return the head of the answer to GET `target`; with a `pseudonym`, as an llmhop asks it.

    `hops` is for how many others, one behind the other, it asks. They are not named, because one
    answer may be for several.

    Raises OSError, which TimeoutError is, UnicodeError and BackendError.
    """
    via = via_line(False, UNNAMED) * hops + via_line(False, pseudonym) if pseudonym else b""
    request = _REQUEST % (target, host.encode(), via)
    async with asyncio.timeout(PROBE_TIMEOUT_S):
        probe = await connect(origin, lambda: _Probe(request))
        try:
            return await probe.head
        finally:
            if probe.head.done() and not probe.head.cancelled():
                probe.head.exception()  # it may have failed in the moment of a timeout
            probe.transport.abort()


async def answers(origin: Origin) -> bool:
    """Whether HTTP is answered there at all, whatever the status."""
    try:
        await ask(origin, origin.host, _PATH)
    except _FAULTS:
        return False
    return True


class State(Enum):
    """Whether a model is served. LOOP says that its requests come back, or go through too many."""

    UP = "up"
    DOWN = "down"
    LOOP = "loop"


class Condition(NamedTuple):
    """What GET /health tells. `is_llmhop` says that it is another llmhop that answers."""

    state: State
    is_llmhop: bool = False


async def condition(url: BackendUrl, pseudonym: bytes) -> Condition:
    """Ask whether a backend answers, and not with an error of its own (5xx).

    vLLM answers 200, or 503 where its engine is dead; what knows no /health answers 404. Where the
    url leads to one model of an llmhop (/route/NAME), that one is asked, as it needs no token and
    no place in a queue for it.
    """
    path, model = split_route(url.path)
    if model is not None:
        found = await _condition(url._replace(path=path), pseudonym)
        if found.is_llmhop:
            return found
    return await _condition(url, pseudonym)


async def _condition(url: BackendUrl, pseudonym: bytes) -> Condition:
    try:
        head = await ask(url.origin, url.authority, url.target(_PATH), pseudonym)
    except _FAULTS:
        return Condition(State.DOWN)
    return Condition(_state(head, head.status < 500 and not head.unserved), SERVER in head.start)


async def state(url: BackendUrl, model: str, pseudonym: bytes, hops: int = 0) -> State:
    """Ask another llmhop how a model is there: the one that the url leads to, if it does.

    `hops` is as for `ask`.
    """
    path, named = split_route(url.path)
    if named is None and (path.strip("/") or url.query):
        return (await condition(url, pseudonym)).state
    target = b"/ready?model=" + quote(named or model, safe="").encode()
    target = url._replace(path=path).target(target)
    try:
        head = await ask(url.origin, url.authority, target, pseudonym, hops)
    except _FAULTS:
        return State.DOWN
    return _state(head, head.status == 200)


def _state(head: ResponseHead, served: bool) -> State:
    if head.unserved == LOOP:
        return State.LOOP
    return State.UP if served else State.DOWN


async def serves(url: BackendUrl, model: str, pseudonym: bytes) -> bool:
    """Ask another llmhop whether it serves a model."""
    return await state(url, model, pseudonym) is State.UP
