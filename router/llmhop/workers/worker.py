"""One of several processes that serve. Its supervisor logs its state."""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket

import uvloop

from llmhop.config.config import Config
from llmhop.observe.metric_store import Metrics
from llmhop.process.listeners import Listeners
from llmhop.process.server import Server
from llmhop.process.service import Service, fault
from llmhop.quota.quotas import Quotas
from llmhop.workers.channel import Channel
from llmhop.workers.messages import (
    Admitted,
    Alive,
    ConfigApplied,
    ConfigPart,
    ConfigRejected,
    EndDrain,
    FromSupervisor,
    FromWorker,
    QueueFull,
    Serving,
)
from llmhop.workers.remote_gate import RemoteGates


def run(
    config: Config,
    listeners: Listeners,
    sock: socket.socket,
    watchdog: float | None,
    metrics: Metrics,
    pseudonym: bytes,
    quotas: Quotas,
) -> None:
    """Serve on `listeners` until SIGTERM or the supervisor's end.

    `sock` leads to the supervisor; pings go there every `watchdog` / 2 seconds. `metrics` is where
    this process counts, `pseudonym` what all workers call themselves in Via, `quotas` what their
    clients use together.
    """
    # Only the supervisor reloads; a signal that is sent to all of them must not end this one.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Worker(sock, metrics, pseudonym, quotas).serve(config, listeners, watchdog))


class _Worker(Service):
    def __init__(
        self, sock: socket.socket, metrics: Metrics, pseudonym: bytes, quotas: Quotas
    ) -> None:
        self._channel: Channel[FromSupervisor, FromWorker] = Channel(
            sock, FromSupervisor, self._want_write
        )
        self._metrics = metrics
        self._pseudonym = pseudonym
        self._quotas = quotas
        self._gates = RemoteGates(self._channel.send, lambda: self._channel.unsent)
        self._parts: list[bytes] = []

    def new_server(self, config: Config) -> Server:
        return Server(config, self._metrics, self._pseudonym, self._gates, self._quotas)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.add_reader(self._channel.socket, self._readable)

    def started(self) -> None:
        self._channel.send(Serving())

    def alive(self) -> None:
        self._channel.send(Alive())

    def stopping(self, open_: str) -> None:
        """Nothing is told: the supervisor asked for it."""

    def _want_write(self, wanted: bool) -> None:
        if wanted:
            self._loop.add_writer(self._channel.socket, self._channel.flush)
        else:
            self._loop.remove_writer(self._channel.socket)

    def _readable(self) -> None:
        try:
            message = self._channel.receive()
        except EOFError:
            # The supervisor is gone. Requests that wait for a place are refused by the drain.
            self._loop.remove_reader(self._channel.socket)
            self._gates.supervisor_left()
            self.stop.set()
            return
        if isinstance(message, ConfigPart):
            self._parts.append(message.data)
            if message.last:
                data, self._parts = b"".join(self._parts), []
                self._channel.send(self._take(data))
        elif isinstance(message, Admitted):
            self._gates.admitted(message.ticket)
        elif isinstance(message, QueueFull):
            self._gates.refused(message.ticket)
        elif isinstance(message, EndDrain):
            self.server.end_drain()

    def _take(self, data: bytes) -> ConfigApplied | ConfigRejected:
        try:
            self.server.reload(pickle.loads(data))  # noqa: S301 - of the process that forked this
        except Exception as error:
            return ConfigRejected(fault(error))
        return ConfigApplied()
