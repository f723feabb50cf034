"""The life of the router: bind, serve, reload on SIGHUP, drain on SIGTERM.

Nothing here knows HTTP; a reload replaces the table of routes as a whole, so that every request
sees one config from its head to its end.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import time
from pathlib import Path

import uvloop

from llmhop import __version__, limits
from llmhop.client_protocol import ClientProtocol
from llmhop.config import Config
from llmhop.config_file import load
from llmhop.errors import ConfigError, Problem
from llmhop.log import log
from llmhop.memory import keep_freed_memory
from llmhop.notify import notify, notify_reloading
from llmhop.pool import Pools
from llmhop.routing import Table

_BACKLOG = 4096


class Server:
    """Serves a config. Implements client_protocol.Router. Made inside a running event loop."""

    def __init__(self, config: Config) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.table = Table(config, int(time.time()))
        self.pools = Pools(self._loop)
        self.pools.serve(model.url.origin for model in config.models.values())
        self.clients: set[ClientProtocol] = set()
        self._no_clients = asyncio.Event()
        self._no_clients.set()
        self.draining = False
        self.now = self._loop.time()

    @property
    def addresses(self) -> list[str]:
        """What is bound, as URLs."""
        urls = []
        for listener in self._server.sockets if self._server else ():
            host, port = listener.getsockname()[:2]
            urls.append(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        return urls

    async def start(self) -> None:
        """Bind and accept. Raises ConfigError where the address can't be bound."""
        listen = self._config.listen
        try:
            self._server = await self._loop.create_server(
                lambda: ClientProtocol(self), listen.host, listen.port, backlog=_BACKLOG
            )
        except OSError as error:
            problem = Problem(
                "listen",
                f"can't bind {listen} ({error.strerror or error})",
                "choose another address, or stop what uses it",
            )
            raise ConfigError([problem]) from None
        self._sweep()

    def reload(self, config: Config) -> None:
        """Serve new requests by `config`; those in flight end as they began."""
        self.table = Table(config, int(time.time()))
        self.pools.serve(model.url.origin for model in config.models.values())
        if config.listen != self._config.listen:
            log(f"listen changed to {config.listen}: this takes effect after a restart")
        self._config = config

    def client_came(self, client: ClientProtocol) -> None:
        """Count a client's connection in."""
        self.clients.add(client)
        self._no_clients.clear()

    def client_went(self, client: ClientProtocol) -> None:
        """Count a client's connection out."""
        self.clients.discard(client)
        if not self.clients:
            self._no_clients.set()

    async def drain(self, seconds: float) -> None:
        """Stop accepting, wait up to `seconds` for requests in flight, then close all."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for client in list(self.clients):
            client.drain()
        try:
            async with asyncio.timeout(seconds):
                await self._no_clients.wait()
        except TimeoutError:
            log(f"{len(self.clients)} connections cut off after {seconds:g} s")
        self.close()
        await asyncio.sleep(0)  # so that what was closed is also told so

    def close(self) -> None:
        """Close every connection at once."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for client in list(self.clients):
            client.transport.abort()
        self.pools.serve([])

    def _sweep(self) -> None:
        # One timer for all connections: setting a deadline costs an assignment, no heap.
        self.now = self._loop.time()
        for client in list(self.clients):
            client.check_deadline(self.now)
        self.pools.close_idle(self.now)
        self._sweeper = self._loop.call_later(limits.SWEEP_S, self._sweep)


def run(path: Path, config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError where the address can't be bound."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    keep_freed_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(path, config))


async def _serve(path: Path, config: Config) -> None:
    loop = asyncio.get_running_loop()
    server = Server(config)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, server, path)
    await server.start()
    gc.collect()
    gc.freeze()
    log(f"{__version__} serves {_count(config)} on {', '.join(server.addresses)}")
    notify("READY=1")
    await stop.wait()
    notify("STOPPING=1")
    log(f"stopping, {len(server.clients)} connections open")
    await server.drain(limits.DRAIN_S)


def _reload(server: Server, path: Path) -> None:
    notify_reloading()
    try:
        config = load(path)
    except ConfigError as error:
        log(f"reload refused, the old config stays:\n{error}")
    else:
        server.reload(config)
        log(f"reloaded, serves {_count(config)}")
    notify("READY=1")


def _count(config: Config) -> str:
    return f"{len(config.models)} model{'' if len(config.models) == 1 else 's'}"
