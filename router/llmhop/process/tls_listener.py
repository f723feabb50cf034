"""Accepts clients over TLS.

An event loop's own server begins a handshake with every client before the protocol can refuse it:
clients beyond the limit would take a descriptor and the memory of a handshake each, for as long as
they stall. Here the limit is checked first, and each handshake uses the current certificate.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from llmhop.limits import ACCEPT_RETRY_S, CLIENT_HEAD_S, DRAIN_NEW_S, TLS_CLOSE_S
from llmhop.log.logger import log

_MOST_PER_PASS: Final = 64


class TlsListener:
    """Accepts on a socket, which stays its owner's."""

    def __init__(
        self,
        sock: socket.socket,
        new_client: Callable[[], asyncio.Protocol | None],
        context: Callable[[], ssl.SSLContext],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`new_client` is asked for the protocol of each client, or None to close it at once.

        `context` is asked for what its handshake is by.
        """
        self._sock = sock
        self._new_client = new_client
        self._context = context
        self._loop = loop
        self._retry: asyncio.TimerHandle | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

    def start(self, backlog: int) -> None:
        """Begin to accept."""
        self._sock.listen(backlog)
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Accept no more; handshakes that have begun go on."""
        if self._retry is not None:
            self._retry.cancel()
        if self._sock.fileno() >= 0:  # its owner may have closed it since
            self._loop.remove_reader(self._sock)

    async def handshakes_over(self) -> None:
        """Wait for the handshakes under way, for DRAIN_NEW_S at most."""
        if self._handshakes:
            await asyncio.wait(self._handshakes, timeout=DRAIN_NEW_S)

    def abort(self) -> None:
        """End the handshakes too."""
        for handshake in self._handshakes:
            handshake.cancel()

    def _accept(self) -> None:
        for _ in range(_MOST_PER_PASS):
            try:
                connection, _ = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # No descriptor, most likely. What waits to be accepted would wake this up for ever.
                log(f"no client can be accepted ({error.strerror})")
                self._loop.remove_reader(self._sock)
                self._retry = self._loop.call_later(ACCEPT_RETRY_S, self._go_on)
                return
            protocol = self._new_client()
            if protocol is None:
                connection.close()
                continue
            task = self._loop.create_task(self._shake_hands(connection, protocol))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _go_on(self) -> None:
        self._loop.add_reader(self._sock, self._accept)

    async def _shake_hands(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=CLIENT_HEAD_S,
                ssl_shutdown_timeout=TLS_CLOSE_S,
            )
        except OSError:  # whatever it was: it did not become a client
            connection.close()
