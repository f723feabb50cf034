"""The life of a process that serves: start, reload, drain on SIGTERM, watchdog."""

from __future__ import annotations

import asyncio
import gc
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop

from llmhop import __version__, limits
from llmhop.client.connection_limit import connections_that_fit
from llmhop.config.config import Config
from llmhop.config.findings import ConfigError
from llmhop.config.load import load
from llmhop.config.parser import after_reload
from llmhop.config.values import ANY
from llmhop.daemon_thread import call_in_thread
from llmhop.log.faults import log_loops_fault
from llmhop.log.logger import LOG, log
from llmhop.process.listeners import Listeners
from llmhop.process.malloc import keep_freed_memory
from llmhop.process.notify import Notifier, watchdog_interval
from llmhop.process.server import Server
from llmhop.process.timer import Timer

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
UNUSED_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
REFUSED = "reload refused, the old config stays"
"""What the status says first after it, too: systemd's protocol has no reload that fails."""


def run(path: Path, config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError where an address can't be bound."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_SingleService(path).serve(config, None, watchdog_interval()))


class Service(ABC):
    """A server with its signals. Subclasses report its state, to systemd or a supervisor."""

    server: Server
    stop: asyncio.Event

    async def serve(
        self, config: Config, listeners: Listeners | None, watchdog: float | None
    ) -> None:
        """Serve until a signal ends it."""
        keep_freed_memory()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(log_loops_fault)
        LOG.to_thread()
        self.server = server = self.new_server(config)
        self.stop = stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop_asked)
        self.watch(loop)
        # A process is started with them blocked, so that none is lost before this.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        await server.start(listeners)
        gc.collect()
        gc.freeze()
        self.started()
        keep_pinging(loop, self.alive, watchdog)
        await stop.wait()
        self.stopping(counted(len(server.clients), "connection"))
        await server.drain(server.config.drain_timeout)
        # Or they would end what has no handlers any more.
        signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, *UNUSED_SIGNALS))

    def stop_asked(self) -> None:
        """Begin the end, at a signal."""
        self.stop.set()

    @abstractmethod
    def new_server(self, config: Config) -> Server:
        """Make the server."""

    @abstractmethod
    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen for requests to reload."""

    @abstractmethod
    def started(self) -> None:
        """Report that clients are accepted."""

    @abstractmethod
    def alive(self) -> None:
        """Report that the event loop runs."""

    @abstractmethod
    def stopping(self, open_: str) -> None:
        """Report that the drain begins, with so many connections open."""


class _SingleService(Service):
    """The only process: it reads its config itself and notifies systemd."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notifier = Notifier()
        self._loading: asyncio.Task[Config] | None = None
        self._started = False
        self._reload_due = False
        self._refused = False

    def new_server(self, config: Config) -> Server:
        log_few_places(config)
        return Server(config)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        for number in UNUSED_SIGNALS:
            loop.add_signal_handler(number, log_unused, number)
        Timer(limits.SWEEP_S, "telling systemd", self._notifier.resume).start(loop)

    def started(self) -> None:
        log(f"{__version__} {self._status()}")
        log_openness(self.server.config, self.server.open_addresses)
        self._notifier.ready(self._status())
        self._started = True
        if self._reload_due:
            self._reload_due = False
            self._reload()

    def alive(self) -> None:
        self._notifier.alive()

    def stopping(self, open_: str) -> None:
        self._notifier.stopping(f"waiting for {open_}", self.server.config.drain_timeout)
        log(f"stopping, {open_} open")

    def stop_asked(self) -> None:
        """Begin the end; asked again, wait for nobody any more."""
        if self.stop.is_set():
            self.server.end_drain()
        self.stop.set()

    def _reload(self) -> None:
        """Begin a reload, or have another one follow the one under way: never two at once."""
        if self.stop.is_set():
            return
        if self._loading is not None or not self._started:
            self._reload_due = True
            return
        self._notifier.reloading()
        self._loading = self._loop.create_task(self._load())
        self._loading.add_done_callback(self._loaded)

    async def _load(self) -> Config:
        # In a thread: a disk may hang, and thousands of models take a second to check.
        read = partial(load, self._path, may_wait=False)
        return await asyncio.wrap_future(call_in_thread("reload", read))

    def _loaded(self, loading: asyncio.Task[Config]) -> None:
        self._loading = None
        due, self._reload_due = self._reload_due, False
        if self.stop.is_set() or loading.cancelled():
            return
        config = read_again(loading.result, self.server.config)
        good = config is not None and self._take(config)
        self._refused = not good
        self.server.observer.reloaded(good)
        self._notifier.ready(self._status())
        if due:
            self._reload()

    def _take(self, config: Config) -> bool:
        try:
            self.server.reload(config)
        except Exception as error:
            log(f"{REFUSED}: {fault(error)}")
            return False
        log(f"reloaded, serves {counted(len(config.models), 'model')}")
        log_few_places(config)
        log_openness(config, self.server.open_addresses)
        return True

    def _status(self) -> str:
        return status(self.server.config, self.server.addresses, refused=self._refused)


def read_again(read: Callable[[], Config], old: Config) -> Config | None:
    """Return the config to go on with, or None where it is of no use; log what to know of it.

    `read` returns the new one, or raises what `load` does.
    """
    try:
        new = read()
    except ConfigError as error:
        log(f"{REFUSED}:\n{error}")
        return None
    except Exception as error:
        log(f"{REFUSED}: {fault(error)}")
        return None
    config, notes = after_reload(old, new)
    for note in notes:
        log(note)
    return config


def fault(error: Exception) -> str:
    """Say what went wrong that nobody expected; never what the config holds."""
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or type(error).__name__


def status(config: Config, addresses: list[str], *, refused: bool) -> str:
    """Say in a line what is served and where, and whether the last reload was `refused`."""
    before = f"{REFUSED}: " if refused else ""
    return f"{before}serves {counted(len(config.models), 'model')} on {', '.join(addresses)}"


def log_openness(config: Config, open_addresses: list[str]) -> None:
    """Say so where whoever reaches one of the addresses is served, or any web page is."""
    if config.has_tokens:
        return
    if open_addresses:
        log(
            f"authTokens is empty: whoever reaches {', '.join(open_addresses)} is served; "
            "set it, or listen on 127.0.0.1, or on a unix socket that socketMode closes to others"
        )
    if config.cors is not None and ANY in config.cors.origins:
        log(
            'authTokens is empty and cors.origins has "*": every web page is served that is opened '
            "where llmhop can be reached; set authTokens, or name the origins"
        )


def log_few_places(config: Config) -> None:
    """Say so where there are fewer places for clients than were asked for, or few at all."""
    wanted, workers = config.max_connections, config.workers
    fitting = connections_that_fit(-(-wanted // workers)) * workers
    asked_for = wanted != limits.DEFAULT_MAX_CONNECTIONS
    if fitting < (wanted if asked_for else min(wanted, limits.FEW_CONNECTIONS)):
        log(f"of {wanted} connections the limit of open files (LimitNOFILE=) allows {fitting}")


def log_unused(number: int) -> None:
    """Say that a signal does nothing, and what whoever sent it may have meant."""
    log(
        f"{signal.Signals(number).name} is ignored: there is no log file to open again "
        "(SIGHUP reads the config again)"
    )


def counted(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def keep_pinging(
    loop: asyncio.AbstractEventLoop, alive: Callable[[], object], interval: float | None
) -> None:
    """Call `alive` every `interval` / 2 seconds from the event loop: a hang is noticed."""
    if interval is not None:
        Timer(interval / 2, "the watchdog", alive).start(loop)
