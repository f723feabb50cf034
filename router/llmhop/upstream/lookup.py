"""Looks up the addresses of backends' names, so that none waits for another.

A name server that does not answer holds a lookup up for minutes, long after whoever asked for it
is gone, and getaddrinfo(3) can't be interrupted. So each name has a thread while it is looked up,
and never more than one: whoever asks for it meanwhile waits for the same answer.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Final

from llmhop.daemon_thread import call_in_thread

Addresses = tuple[str, ...]


class Lookups:
    """The lookups that run in this process."""

    def __init__(self) -> None:
        self._lock = Lock()  # a lookup ends in its thread
        self._running: dict[str, Future[Addresses]] = {}

    async def addresses(self, host: str) -> Addresses:
        """Return the addresses of a name, each once, in the order in which they are to be tried.

        Raises OSError, which socket.gaierror is, and UnicodeError.
        """
        return await asyncio.wrap_future(self._begin(host))

    def _begin(self, host: str) -> Future[Addresses]:
        with self._lock:
            running = self._running.get(host)
            if running is None:
                running = call_in_thread("lookup", partial(self._look_up, host))
                self._running[host] = running
            return running

    def _look_up(self, host: str) -> Addresses:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        finally:
            with self._lock:
                del self._running[host]


LOOKUPS: Final = Lookups()
"""Those of all: a name that hangs takes one thread, whoever asks for it."""
