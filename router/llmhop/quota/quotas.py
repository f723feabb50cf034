"""The quotas of all clients that have limits, as one process counts them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from llmhop.config.tables.client import ClientConfig
from llmhop.quota.quota import Quota
from llmhop.quota.store import QuotaStore, hash_names


class Quotas:
    """Quotas by the name of the client, in one slot of the store."""

    def __init__(
        self, store: QuotaStore, slot: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._slot = slot
        self._clock = clock
        self._quotas: dict[str, Quota] = {}

    def get(self, name: str) -> Quota | None:
        """Return the quota of a client, or None where it has no limits."""
        return self._quotas.get(name)

    def serve(self, clients: Mapping[str, ClientConfig]) -> None:
        """Keep to the limits of these clients; who was there before goes on with what it used."""
        limited = {name: client for name, client in sorted(clients.items()) if client.is_limited}
        names = hash_names(limited)
        # A process that takes the place of one that ended goes on with its minutes.
        known = not self._quotas and self._store.names(self._slot) == names
        for name in self._quotas.keys() - limited.keys():
            self._quotas.pop(name).forget()
        for index, (name, client) in enumerate(limited.items()):
            quota = self._quotas.get(name)
            if quota is None:
                quota = self._quotas[name] = Quota(self._store, self._slot, self._clock)
                if known:
                    quota.row = (0, *self._store.row(self._slot, index)[1:])
            quota.serve(client, index, names)
        self._store.replace(self._slot, names, [self._quotas[name].row for name in limited])
