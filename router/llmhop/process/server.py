"""Accepts clients and serves them by the current config: start, reload, drain.

Nothing here parses HTTP, and of responses it writes only the 503 beyond maxConnections. A reload
replaces the table of routes as a whole, so that every request sees one config from its head to
its end.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from llmhop import limits
from llmhop.client.connection import ClientConnection
from llmhop.client.connection_limit import (
    ConnectionLimit,
    RejectedClient,
    backends_that_fit,
    connections_that_fit,
)
from llmhop.client.memory_budget import Budget
from llmhop.client.work_queue import WorkQueue
from llmhop.config.config import Certificate, Config
from llmhop.daemon_thread import call_in_thread
from llmhop.errors import overloaded
from llmhop.http.fields.via import PREFIX
from llmhop.http.local_response import LocalResponse, error_response, render
from llmhop.limits import METRICS_S
from llmhop.log.faults import attempt, attempt_each
from llmhop.log.logger import log
from llmhop.models.gate import Gates, LocalGates
from llmhop.models.models import Models
from llmhop.models.readiness import Readiness
from llmhop.observe.metric_store import Metrics, MetricStore
from llmhop.observe.observer import Observer, single_process
from llmhop.observe.request_record import RequestRecord
from llmhop.process.exposure import is_open_host
from llmhop.process.listeners import Listeners, is_unix, open_listeners
from llmhop.process.timer import Timer
from llmhop.quota.quotas import Quotas
from llmhop.quota.store import QuotaStore
from llmhop.routing.table import RoutingTable
from llmhop.upstream.pool import Pools

if TYPE_CHECKING:
    import ssl

    from llmhop.process.tls_listener import TlsListener

BACKLOG = 4096

# From Python 3.13 on, a loop removes the files of unix sockets, of systemd's as well.
_KEEP_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


def new_pseudonym() -> bytes:
    """Return what an llmhop may call itself in Via, and no other one does."""
    return PREFIX + secrets.token_hex(8).encode()


class Server:
    """Serves a config. Implements client.connection.Clients. Made inside a running event loop."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics | None = None,
        pseudonym: bytes | None = None,
        gates: Gates | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        """`metrics`, `pseudonym`, `gates` and `quotas` are of this process as one of several.

        The first is where it counts, the second what all of them call themselves in Via, and the
        others limit all of them together.
        """
        self._loop = asyncio.get_running_loop()
        self.config = config
        self._tls = _context(config.tls)
        self._listeners = Listeners([])
        self._servers: list[asyncio.Server] = []
        self._tls_listeners: list[TlsListener] = []
        # One timer for all connections: setting a deadline costs an assignment, no heap.
        self._sweeper = Timer(limits.SWEEP_S, "the sweep", self._sweep)
        self._pseudonym = pseudonym or new_pseudonym()
        self.table = self._new_table(config)
        self.pools = Pools(self._loop)
        self.models = Models(self.pools, gates or LocalGates(), self._pseudonym, self._loop)
        self.models.serve(config.models)
        self.readiness = Readiness(self.models, self._loop)
        self.clients: set[ClientConnection] = set()
        self._no_clients = asyncio.Event()
        self._no_clients.set()
        self._hurry = asyncio.Event()
        self.observer = Observer(metrics or single_process(), config.access_log)
        self._page: asyncio.Future[LocalResponse] | None = None
        self.budget = Budget(_share(config.max_buffered_bytes, config))
        self.quotas = quotas or Quotas(QuotaStore(1), 0)
        self.quotas.serve(config.clients or {})
        self.connection_limit = ConnectionLimit(0)
        self.work = WorkQueue(self._loop.call_soon, time.perf_counter)
        self._turned_away: set[RejectedClient] = set()
        self._turned_away_limit = ConnectionLimit(limits.MAX_TURNED_AWAY)
        self._is_full = False
        self._limit_connections(config)
        self.draining = False
        self.now = self._loop.time()

    @property
    def addresses(self) -> list[str]:
        """What is listened on, as URLs."""
        return self._listeners.urls("http" if self._tls is None else "https")

    @property
    def open_addresses(self) -> list[str]:
        """Those of them that other hosts may reach."""
        return self._listeners.open_urls("http" if self._tls is None else "https")

    async def start(self, listeners: Listeners | None = None) -> None:
        """Accept on `listeners`, or on what the config names.

        Raises ConfigError where an address can't be bound.
        """
        config = self.config
        self._listeners = listeners or open_listeners(config.addresses, config.socket_mode)
        for sock in self._listeners.sockets:
            if is_unix(sock):
                unix = await self._loop.create_unix_server(
                    self._new_client, sock=sock, backlog=BACKLOG, **_KEEP_FILE
                )
                self._servers.append(unix)
            elif self._tls is None:
                new_client = partial(self._new_client, not is_open_host(sock.getsockname()[0]))
                tcp = await self._loop.create_server(new_client, sock=sock, backlog=BACKLOG)
                self._servers.append(tcp)
            else:
                self._accept_tls(sock)
        self._sweeper.start(self._loop)

    def reload(self, config: Config) -> None:
        """Serve new requests by `config`; those in flight end as they began.

        Where it raises, requests are routed by the old config as before.
        """
        table, tls = self._new_table(config), self._tls
        if tls is not None and config.tls is not None and config.tls != self.config.tls:
            tls = _context(config.tls)
        self.models.serve(config.models)
        self.budget.limit = _share(config.max_buffered_bytes, config)
        self.quotas.serve(config.clients or {})
        self._limit_connections(config)
        self.observer.change_log(config.access_log)
        # Last, when nothing can fail any more.
        self.table, self._tls, self.config = table, tls, config

    async def metrics_page(self) -> LocalResponse:
        """Return the page for Prometheus, made at most once a second for all who ask.

        To count what goes on now takes a step for each client.
        """
        if self._page is None:
            begun = self._loop.time()
            self.observer.publish(self._records(), self.budget.held)
            # In a thread: with many models it takes longer than a stream may wait.
            render = partial(_render_page, self.observer.store)
            self._page = asyncio.wrap_future(call_in_thread("metrics", render))
            self._page.add_done_callback(lambda _: self._keep_page(begun + METRICS_S))
        # A client that disconnects must not end it for the others.
        return await asyncio.shield(self._page)

    def _keep_page(self, until: float) -> None:
        self._loop.call_at(until, self._forget_page)

    def _forget_page(self) -> None:
        self._page = None

    def client_connected(self, client: ClientConnection) -> None:
        """Count a client's connection in."""
        self.clients.add(client)
        self._no_clients.clear()

    def client_disconnected(self, client: ClientConnection) -> None:
        """Count a client's connection out."""
        self.clients.discard(client)
        if not self.clients:
            self._no_clients.set()

    async def drain(self, seconds: float) -> None:
        """Stop accepting, wait up to `seconds` for requests in flight, then end and close all.

        `end_drain` ends the wait.
        """
        self.begin_drain()
        ends = [self._loop.create_task(each) for each in (self._clients_left(), self._hurry.wait())]
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        left = ends[0].done()
        for end in ends:
            end.cancel()
        if not left:
            count = len(self.clients)
            why = "at a second signal" if self._hurry.is_set() else f"after {seconds:g} s"
            log(f"{count} connection{'' if count == 1 else 's'} cut off {why}")
            self.cut_off()
            with suppress(TimeoutError):  # some take a moment for their response
                async with asyncio.timeout(limits.DRAIN_CLOSE_S):
                    await self._no_clients.wait()
        self.close()
        await asyncio.sleep(0)  # so that what was closed is also told so
        self.observer.close()

    def end_drain(self) -> None:
        """Wait no longer for requests in flight, nor in a drain that is yet to begin."""
        self._hurry.set()

    async def _clients_left(self) -> None:
        await asyncio.gather(*[each.handshakes_over() for each in self._tls_listeners])
        await self._no_clients.wait()

    def begin_drain(self) -> None:
        """Stop accepting, and close what is idle."""
        self.draining = True
        for server in self._servers:
            server.close()
        for listener in self._tls_listeners:
            listener.close()
        self._listeners.close()
        attempt_each("draining a client", list(self.clients), ClientConnection.drain, _abort)

    def cut_off(self) -> None:
        """End every request."""
        attempt_each("cutting off a client", list(self.clients), ClientConnection.cut_off, _abort)

    def close(self) -> None:
        """Close every connection at once."""
        self._sweeper.stop()
        attempt_each("closing a client", list(self.clients), _abort)
        for listener in self._tls_listeners:
            listener.abort()
        for refused in list(self._turned_away):
            refused.transport.abort()
        self.readiness.close()
        self.models.close()
        self.pools.serve([])

    def _new_table(self, config: Config) -> RoutingTable:
        return RoutingTable(config, int(time.time()), self._pseudonym, socket.gethostname())

    def _records(self) -> Iterator[RequestRecord]:
        return (client.record for client in self.clients)

    def _limit_connections(self, config: Config) -> None:
        fitting = connections_that_fit(_share(config.max_connections, config))
        self.connection_limit.limit = fitting
        self.pools.limit = backends_that_fit(fitting)

    def _new_client(self, on_loopback: bool = False) -> asyncio.Protocol:
        full = self.connection_limit.full
        if full and not self._is_full:
            limit = self.connection_limit.limit
            log(f"{limit} clients are connected, more are turned away (maxConnections)")
        self._is_full = full
        if not full:
            return ClientConnection(self, on_loopback)
        self.observer.refused("connections")
        id_ = self.observer.new_id()
        refusal = error_response(overloaded(), id_, to_llmhop=True)
        response = render(refusal, id_, head_only=False, close=True)
        return RejectedClient(response, self._turned_away, self._turned_away_limit)

    def _new_tls_client(self) -> asyncio.Protocol | None:
        """Spend no handshake on a client that would be rejected, and closed at once."""
        if self.connection_limit.full and self._turned_away_limit.full:
            self.observer.refused("connections")
            return None
        return self._new_client()  # on loopback or not: a certificate ties the address to a name

    def _accept_tls(self, sock: socket.socket) -> None:
        from llmhop.process.tls_listener import TlsListener  # imports ssl, as below

        def current() -> ssl.SSLContext:
            return cast("ssl.SSLContext", self._tls)  # a reload can't turn it off

        listener = TlsListener(sock, self._new_tls_client, current, self._loop)
        listener.start(BACKLOG)
        self._tls_listeners.append(listener)

    def sweep(self, now: float) -> None:
        """End what has taken too long at `now`; a client whose check fails is cut off."""
        self.now = now
        attempt_each(
            "the check of a client",
            list(self.clients),
            lambda client: client.check_deadline(now),
            ClientConnection.fail,
        )
        self.pools.sweep(now)
        self.models.sweep(now)

    def _sweep(self) -> None:
        attempt("the sweep", lambda: self.sweep(self._loop.time()))
        self.observer.sweep(self._records(), self.budget.held)


def _abort(client: ClientConnection) -> None:
    client.transport.abort()


def _context(certificate: Certificate | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    from llmhop.config.tls import server_context  # imports ssl, which only a TLS listener needs

    return server_context(certificate)


def _share(limit: int, config: Config) -> int:
    """Return what each of several processes gets of a limit."""
    return -(-limit // config.workers)


def _render_page(store: MetricStore) -> LocalResponse:
    from llmhop.observe.metrics_page import CONTENT_TYPE, render_page  # slow to import, see there

    return LocalResponse(200, render_page(store), CONTENT_TYPE)
