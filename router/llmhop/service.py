"""The life of a process that serves: start, reload on SIGHUP, drain on SIGTERM, watchdog."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
from pathlib import Path

import uvloop

from llmhop import __version__, limits
from llmhop.config import Config, after_reload
from llmhop.config_file import load
from llmhop.errors import ConfigError
from llmhop.listeners import Listeners
from llmhop.log import log
from llmhop.memory import keep_freed_memory
from llmhop.metric_store import Metrics
from llmhop.notify import Notifier, watchdog_interval
from llmhop.server import Server

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(path: Path, config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError where an address can't be bound."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Service(path, Notifier()).serve(config, None, watchdog_interval()))


def run_worker(
    path: Path,
    config: Config,
    listeners: Listeners,
    channel: socket.socket,
    watchdog: float | None,
    metrics: Metrics,
    pseudonym: bytes,
) -> None:
    """Serve on `listeners` as one of several processes, until SIGTERM or the supervisor's end.

    `channel` takes what would be told to systemd; pings go there every `watchdog` / 2 seconds.
    `metrics` is where this process counts, `pseudonym` what all of them call themselves in Via.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        service = _Service(path, Notifier(channel), channel, metrics, pseudonym)
        runner.run(service.serve(config, listeners, watchdog))


class _Service:
    """A server with its signals. What a worker has to say is its supervisor's to log."""

    def __init__(
        self,
        path: Path,
        notifier: Notifier,
        channel: socket.socket | None = None,
        metrics: Metrics | None = None,
        pseudonym: bytes | None = None,
    ) -> None:
        self._path = path
        self._notifier = notifier
        self._channel = channel
        self._metrics = metrics
        self._pseudonym = pseudonym

    async def serve(
        self, config: Config, listeners: Listeners | None, watchdog: float | None
    ) -> None:
        """Serve until a signal ends it."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        keep_freed_memory()
        loop = asyncio.get_running_loop()
        server = Server(config, self._metrics, self._pseudonym)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload, server)
        # A worker is started with them blocked, so that none is lost before this.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        await server.start(listeners)
        if self._channel is not None:
            # Nothing comes on it: it is readable when the supervisor has gone.
            loop.add_reader(self._channel, stop.set)
        gc.collect()
        gc.freeze()
        self._say(f"{__version__} {status(config, server.addresses)}")
        self._notifier.ready(status(config, server.addresses))
        keep_pinging(loop, self._notifier, watchdog)
        await stop.wait()
        if self._channel is not None:
            loop.remove_reader(self._channel)
        open_ = counted(len(server.clients), "connection")
        self._notifier.stopping(f"waiting for {open_}")
        self._say(f"stopping, {open_} open")
        await server.drain(limits.DRAIN_S)

    def _reload(self, server: Server) -> None:
        self._notifier.reloading()
        old = server.config
        config, messages = read_again(self._path, old)
        server.reload(config)
        if self._channel is None:
            server.observer.reloaded(config is not old)
        for message in messages:
            self._say(message)
        self._notifier.ready(status(server.config, server.addresses))

    def _say(self, message: str) -> None:
        if self._channel is None:
            log(message)


def read_again(path: Path, old: Config) -> tuple[Config, list[str]]:
    """Return the config to go on with, and what to log about it."""
    try:
        new = load(path)
    except ConfigError as error:
        return old, [f"reload refused, the old config stays:\n{error}"]
    config, notes = after_reload(old, new)
    return config, [*notes, f"reloaded, serves {counted(len(config.models), 'model')}"]


def status(config: Config, addresses: list[str]) -> str:
    """Say in a line what is served and where."""
    return f"serves {counted(len(config.models), 'model')} on {', '.join(addresses)}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def keep_pinging(
    loop: asyncio.AbstractEventLoop, notifier: Notifier, interval: float | None
) -> None:
    """Ping the watchdog every `interval` / 2 seconds from the event loop: a hang is noticed."""
    if interval is None:
        return

    def ping() -> None:
        notifier.notify("WATCHDOG=1")
        loop.call_later(interval / 2, ping)

    ping()
