"""Has the addresses of backends' names looked up, again and again.

The system's resolver tells no time to live, so the config says how often. What was found last
counts until something else is found: a name server that fails takes no backend away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from llmhop.log.faults import attempt_each
from llmhop.log.logger import log
from llmhop.upstream.lookup import LOOKUPS, Addresses


class _Name:
    """A name. `every` is in seconds, `due` in loop time."""

    __slots__ = ("addresses", "due", "every", "failing", "lookup")

    def __init__(self, every: float) -> None:
        self.every = every
        self.addresses: Addresses = ()
        self.due = 0.0
        self.failing = False
        self.lookup: asyncio.Task[Addresses] | None = None


class Resolver:
    """The addresses of names. `changed` is called when those of one have changed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._changed = changed
        self._names: dict[str, _Name] = {}

    def addresses(self, host: str) -> Addresses:
        """Return what is known of a name, in order; nothing before the first answer."""
        name = self._names.get(host)
        return () if name is None else name.addresses

    def serve(self, names: Mapping[str, float]) -> None:
        """Look up `names`, each every so many seconds, and forget the others."""
        for host in self._names.keys() - names.keys():
            _cancel(self._names.pop(host))
        for host, every in names.items():
            name = self._names.setdefault(host, _Name(every))
            name.every = every

    def sweep(self, now: float) -> None:
        """Begin the lookups that are due at `now` (loop time)."""
        names = list(self._names.items())
        attempt_each("looking up a name", names, lambda item: self._resolve(*item, now))

    def close(self) -> None:
        """Look up nothing more."""
        self.serve({})

    def _resolve(self, host: str, name: _Name, now: float) -> None:
        if name.lookup is None and now >= name.due:
            name.due = now + name.every
            name.lookup = self._loop.create_task(LOOKUPS.addresses(host))
            name.lookup.add_done_callback(partial(self._resolved, host, name))

    def _resolved(self, host: str, name: _Name, lookup: asyncio.Task[Addresses]) -> None:
        name.lookup = None
        if lookup.cancelled() or self._names.get(host) is not name:
            return
        error = lookup.exception()
        found = () if error else tuple(sorted(lookup.result()))
        if not found:
            if not name.failing:
                then = (
                    "the last ones stay"
                    if name.addresses
                    else "until they can, the url itself is the replica"
                )
                log(f"the addresses of {host!r} can't be looked up ({error}); {then}")
            name.failing = True
            return
        name.failing = False
        if found != name.addresses:
            name.addresses = found
            self._changed()


def _cancel(name: _Name) -> None:
    if name.lookup is not None:
        name.lookup.cancel()
