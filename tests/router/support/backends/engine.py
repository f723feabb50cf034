"""An engine that answers when it is told to, behind a limit on requests at once."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from llmhop.models.gate import LocalGate

from tests.router.support.endpoints import Backend, Received, RunningRouter, wait_until


class Engine:
    """Answers each request when it is told to, with its body."""

    def __init__(self) -> None:
        self.go_on = threading.Semaphore(0)
        self.running = 0
        self.most = 0
        self._open: list[asyncio.StreamReader] = []

    async def respond(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self.running += 1
        self._open.append(request.reader)
        # Not those whose end has come, though their own task has not heard of it yet.
        self.most = max(self.most, sum(map(_is_open, self._open)))
        gone = asyncio.ensure_future(request.reader.read())
        told = asyncio.ensure_future(asyncio.to_thread(self.go_on.acquire))
        done, _ = await asyncio.wait({gone, told}, return_when=asyncio.FIRST_COMPLETED)
        self.running -= 1
        self._open.remove(request.reader)
        if told not in done:
            self.go_on.release()  # for the thread that waits in vain
            await told
            return
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(request.body) + request.body)
        await writer.drain()
        writer.close()


def _is_open(reader: asyncio.StreamReader) -> bool:
    return not reader.at_eof() and reader.exception() is None


def limited(backend: Backend, most: int, **more: Any) -> dict[str, dict[str, Any]]:
    return {"m": {"url": backend.url, "maxConcurrent": most, **more}}


def gate_of(router: RunningRouter) -> LocalGate:
    gate = router.server.models.all()["m"].gate
    assert isinstance(gate, LocalGate)
    return gate


def wait_until_queued(router: RunningRouter, count: int) -> None:
    gate = gate_of(router)
    wait_until(lambda: router.thread.call(lambda: gate.queued) == count)


def numbered(number: int) -> bytes:
    return b'{"model":"m","n":%d}' % number


def numbers(backend: Backend) -> list[int]:
    return [json.loads(request.body)["n"] for request in backend.requests]
