"""The models that are served: their replicas, which of them is next, and their limits.

All of it is of one process. With several workers each counts its own requests.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from sys import maxsize

from llmhop.config.backend_url import BackendUrl
from llmhop.config.tables.model import ModelConfig
from llmhop.limits import MAX_REPLICAS
from llmhop.log.faults import attempt_each
from llmhop.models.gate import Gate, Gates
from llmhop.models.replica import Replica
from llmhop.routing.decision import Route
from llmhop.routing.target import split_route
from llmhop.upstream.pool import Pools
from llmhop.upstream.resolver import Resolver

# More than any replica has in flight.
_EJECTED = 1 << 32


class Model:
    """A model as one config has it. `replicas` stand in the order of the config's urls.

    `pools` are theirs, and `places` say which of the urls each belongs to: several where addresses
    are looked up. `replaced` says that there is a newer one, for requests that begin; `has_peers`
    that some urls lead to the model at other llmhops, and some to engines.
    """

    __slots__ = (
        "_loop",
        "_next",
        "config",
        "gate",
        "has_peers",
        "is_single",
        "name",
        "places",
        "pools",
        "replaced",
        "replicas",
        "retries",
    )

    def __init__(
        self,
        name: str,
        config: ModelConfig,
        replicas: tuple[Replica, ...],
        places: tuple[int, ...],
        gate: Gate | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name = name
        self.config = config
        self.retries = config.retries
        self.is_single = len(replicas) == 1
        self.replicas = replicas
        self.pools = tuple(replica.pool for replica in replicas)
        self.places = places
        peers = [split_route(replica.url.path)[1] is not None for replica in replicas]
        self.has_peers = any(peers) and not all(peers)
        self.replaced = False
        self.gate = gate
        self._loop = loop
        self._next = 0

    def pick(self, tried: int) -> int | None:
        """Return which replica a request goes to, or None where all were tried.

        It is the one with the fewest requests in flight, of several the next (round robin); those
        that are ejected come last. Bit n of `tried` stands for replica n.
        """
        loads = [
            r.pool.outstanding + _EJECTED if r.ejected else r.pool.outstanding
            for r in self.replicas
        ]
        if tried:
            loads = [maxsize if tried >> n & 1 else load for n, load in enumerate(loads)]
        least = min(loads)
        if least == maxsize:
            return None
        start = self._next
        following = loads[start:]
        best = start + following.index(least) if least in following else loads.index(least)
        self._next = (best + 1) % len(loads)
        return best

    def retry_after(self) -> int:
        """Return in how many seconds the first of the replicas will be asked again, at least 1."""
        now = self._loop.time()
        return max(1, math.ceil(min(replica.seconds_left(now) for replica in self.replicas)))


class Models:
    """All models. The state of those that stay outlives a reload."""

    def __init__(
        self, pools: Pools, gates: Gates, pseudonym: bytes, loop: asyncio.AbstractEventLoop
    ) -> None:
        """`gates` are those of this process or, with workers, lead to those of all.

        `pseudonym` is what llmhop calls itself in Via.
        """
        self._pseudonym = pseudonym
        self._pools = pools
        self._gates = gates
        self._loop = loop
        self._models: dict[str, Model] = {}
        self._replicas: dict[tuple[str, BackendUrl], Replica] = {}
        self._configs: Mapping[str, ModelConfig] = {}
        self._resolver = Resolver(loop, self._build)

    def get(self, route: Route) -> Model:
        """Return the model that a route was made for.

        A request that a reload overtook gets the one it was meant for, which may be gone from
        the config; what is counted is still counted together.
        """
        model = self._models.get(route.model)
        if model is None or model.config is not route.config:
            model = self._make(route.model, route.config, self._gates.get(route.model))
        return model

    def all(self) -> Mapping[str, Model]:
        """Return each model in the config by its name."""
        return self._models

    def serve(self, models: Mapping[str, ModelConfig]) -> None:
        """Serve each of `models`, and forget the others."""
        self._gates.serve(models)
        self._configs = models
        names: dict[str, float] = {}
        for model in models.values():
            every = model.resolve
            if every is not None:
                for url in model.urls:
                    host = url.origin.host
                    if url.origin.is_name:
                        names[host] = min(every, names.get(host, every))
        self._resolver.serve(names)
        self._build()

    def _build(self) -> None:
        configs = self._configs
        urls = {name: [u for u, _ in self._located(m)] for name, m in configs.items()}
        self._pools.serve(url.origin for group in urls.values() for url in group)
        replicas, self._replicas = self._replicas, {}
        for name, group in urls.items():
            for url in group:
                key = name, url
                if key in replicas:
                    self._replicas[key] = replicas.pop(key)
                else:
                    self._replicas[key] = self._new_replica(name, url)
        for replica in replicas.values():
            replica.retire()
        for model in self._models.values():
            model.replaced = True
        self._models = {
            name: self._make(
                name,
                config,
                None if config.max_concurrent is None else self._gates.get(name),
            )
            for name, config in configs.items()
        }

    def sweep(self, now: float) -> None:
        """Do what is due for every replica at `now` (loop time)."""
        self._resolver.sweep(now)
        replicas = list(self._replicas.values())
        attempt_each("the sweep of a replica", replicas, lambda replica: replica.sweep(now))

    def close(self) -> None:
        """Ask and look up no more."""
        self._resolver.close()
        for replica in self._replicas.values():
            replica.retire()

    def _make(self, name: str, config: ModelConfig, gate: Gate | None) -> Model:
        located = self._located(config)
        replicas = tuple(
            self._replicas.get((name, url)) or self._new_replica(name, url) for url, _ in located
        )
        places = tuple(place for _, place in located)
        return Model(name, config, replicas, places, gate, self._loop)

    def _located(self, config: ModelConfig) -> list[tuple[BackendUrl, int]]:
        """Return the replicas of a config: each url, or one for each of its addresses.

        With each the place of its url in the config.
        """
        urls = config.urls
        if config.resolve is None:
            return list(zip(urls, range(len(urls)), strict=True))
        most = max(1, MAX_REPLICAS // len(urls))
        located: list[tuple[BackendUrl, int]] = []
        for place, url in enumerate(urls):
            addresses = self._resolver.addresses(url.origin.host)[:most]
            for address in addresses:
                origin = url.origin._replace(address=address)
                located.append((url._replace(origin=origin), place))
            if not addresses:
                located.append((url, place))
        return located

    def _new_replica(self, model: str, url: BackendUrl) -> Replica:
        return Replica(model, url, self._pools.get(url.origin), self._pseudonym, self._loop)
