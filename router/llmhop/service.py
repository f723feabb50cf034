"""The life of a process that serves: start, reload on SIGHUP, drain on SIGTERM, watchdog."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
from pathlib import Path

import uvloop

from llmhop import __version__, limits
from llmhop.config import Config
from llmhop.config_file import load
from llmhop.errors import ConfigError
from llmhop.listeners import Listeners
from llmhop.log import log
from llmhop.memory import keep_freed_memory
from llmhop.notify import Notifier, watchdog_interval
from llmhop.server import Server


def run(path: Path, config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError where an address can't be bound."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(path, config, None, Notifier()))


async def _serve(
    path: Path, config: Config, listeners: Listeners | None, notifier: Notifier
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    keep_freed_memory()
    loop = asyncio.get_running_loop()
    server = Server(config)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, server, path, notifier)
    await server.start(listeners)
    gc.collect()
    gc.freeze()
    log(f"{__version__} {status(config, server.addresses)}")
    notifier.ready(status(config, server.addresses))
    keep_pinging(loop, notifier)
    await stop.wait()
    open_ = counted(len(server.clients), "connection")
    notifier.stopping(f"waiting for {open_}")
    log(f"stopping, {open_} open")
    await server.drain(limits.DRAIN_S)


def status(config: Config, addresses: list[str]) -> str:
    """Say in a line what is served and where."""
    return f"serves {counted(len(config.models), 'model')} on {', '.join(addresses)}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _reload(server: Server, path: Path, notifier: Notifier) -> None:
    notifier.reloading()
    try:
        config = load(path)
    except ConfigError as error:
        log(f"reload refused, the old config stays:\n{error}")
    else:
        server.reload(config)
        log(f"reloaded, serves {counted(len(config.models), 'model')}")
    notifier.ready(status(server.config, server.addresses))


def keep_pinging(loop: asyncio.AbstractEventLoop, notifier: Notifier) -> None:
    """Ping the watchdog from the event loop: one that hangs is noticed."""
    interval = watchdog_interval()
    if interval is None:
        return

    def ping() -> None:
        notifier.notify("WATCHDOG=1")
        loop.call_later(interval / 2, ping)

    ping()
