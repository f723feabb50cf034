"""A router on fake transports, and what its stateful models share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st
from llmhop.client.work_queue import WorkQueue
from llmhop.models.gate import Gates
from llmhop.observe.metric_layout import REFUSAL_INDEX
from llmhop.process.server import Server

from tests.router.support.endpoints import check
from tests.router.support.fakes.network import FakeLoop, FakeTransport

_HEAD = re.compile(rb"HTTP/1\.1 (\d+) .*?\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)

Thing = TypeVar("Thing")


class FakeRouter:
    """A router whose clock stands still unless a test moves it.

    `clients` are what it accepted; with `prompt`, backends accept at once. No callback may fail.
    `spent` is the time in seconds that its work took so far: none, unless a test says it.
    """

    def __init__(
        self, config: dict[str, Any], backend_room: int, gates: Gates | None = None
    ) -> None:
        self.loop = FakeLoop(backend_room)
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))
        asyncio.set_event_loop(self.loop)
        self.faults: list[dict[str, Any]] = []
        self.clients: list[FakeTransport] = []
        self.prompt = False

        async def start() -> Server:
            return Server(check({"accessLog": "off", **config}), gates=gates)

        self.server = self.loop.run_until_complete(start())
        self.server.now = self.loop.now
        self.spent: Callable[[], float] = lambda: 0.0
        self.server.work = WorkQueue(self.loop.call_soon, lambda: self.spent())

    def accept(self, client: FakeTransport) -> None:
        """Have a client connect."""
        self.clients.append(client)
        self.event(lambda: client.begin(self.server._new_client()))

    def event(self, action: Callable[[], object]) -> None:
        """Do something within the loop, and what follows."""
        self.loop.call_soon(action)
        self.loop.settle()
        if self.prompt:
            self.connect()
            self.loop.settle()
        for transport in self.clients + self.loop.backends:
            if transport.protocol is not None and not transport.lost:
                self.loop.call_soon(transport.deliver)
        self.loop.settle()
        for fault in self.faults:
            raise AssertionError(fault["message"]) from fault.get("exception")

    def turn(self) -> None:
        """Run what is due, but not all that follows from it."""
        for transport in self.clients + self.loop.backends:
            if not transport.lost:
                self.loop.call_soon(transport.deliver)
        self.loop.run_until_complete(asyncio.sleep(0))

    def connect(self) -> None:
        """Have the backends accept whoever waits for that."""
        for asked in list(self.loop.connecting):
            if not asked.done():
                asked.set_result(None)

    def sweep(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.now += seconds
        self.event(lambda: self.server.sweep(self.loop.now))

    def wait(self, seconds: int) -> None:
        """Let time pass, with a sweep each second."""
        for _ in range(seconds):
            self.sweep(1)

    def client(self, room: int = 10**9, tls: bool = False) -> FakeTransport:
        """Have a client connect that takes `room` bytes."""
        transport = FakeTransport(self.loop, room, tls)
        self.accept(transport)
        return transport

    def send(self, client: FakeTransport, data: bytes) -> None:
        """Have a client send."""
        self.event(lambda: client.peer_sends(data))

    def backend(self) -> FakeTransport:
        """Have the backends accept; return the connection that was asked for last."""
        self.event(self.connect)
        return self.loop.backends[-1]

    def answer(self, backend: FakeTransport, body: bytes) -> None:
        """Have a backend answer with 200."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.event(lambda: backend.peer_sends(head + body))

    def refusals(self, reason: str) -> int:
        """How often a limit refused a client."""
        return self.server.observer._metrics.process[REFUSAL_INDEX[reason]]

    def close(self) -> None:
        """Let go of everything, whatever state it is in."""
        for transport in self.clients + self.loop.backends:
            transport.discard()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle()
        self.loop.close()
        asyncio.set_event_loop(None)


def statuses(client: FakeTransport) -> list[int]:
    """Return the status of each response that a client got, whole or not."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", bytes(client.sent))]


def responses(data: bytes) -> list[tuple[int, bytes]]:
    """Return status and body of each whole response; of their heads, the final ones count."""
    found = []
    while (match := _HEAD.match(data)) is not None:
        length = _LENGTH.search(match[0])
        size = int(length[1]) if length else 0
        if len(data) < match.end() + size:
            break
        if match[1] != b"100":
            found.append((int(match[1]), data[match.end() : match.end() + size]))
        data = data[match.end() + size :]
    return found


def pick(things: list[Thing], data: st.DataObject) -> Thing:
    """Draw one of `things`, which are only known within a rule."""
    return things[data.draw(st.integers(0, len(things) - 1))]
