"""Which replica a request goes to, and which one next where that fails."""

from __future__ import annotations

from llmhop.errors import ApiError
from llmhop.models.models import Model, Models
from llmhop.models.replica import Replica
from llmhop.relay.causes import error_for
from llmhop.routing.decision import Route
from llmhop.upstream.pool import Pool


class ReplicaChoice:
    """The replicas that an exchange's current request was given to, one after the other.

    `model` is the one that it is for. From `pick` until `release` the request counts as one of the
    replica's, and no other is picked.
    """

    __slots__ = ("_cause", "_index", "_models", "_pool", "_route", "_tried", "model")

    model: Model

    def __init__(self, models: Models) -> None:
        self._models = models
        self._route: Route | None = None  # whose model `model` is
        self._pool: Pool | None = None
        self._tried = self._cause = self._index = 0

    def start(self, route: Route) -> None:
        """Begin with a request of a route: none was tried for it."""
        # A route is of one config, as each config has routes of its own.
        if route is not self._route or self.model.replaced:
            self._route = route
            self.model = self._models.get(route)
        self._tried = self._cause = 0

    def pick(self) -> Pool | None:
        """Return the connections of the next replica, or None where all were tried."""
        model = self.model
        if model.is_single and not self._tried:
            index = 0
        else:
            picked = model.pick(self._tried)
            if picked is None:
                return None
            index = picked
        self._tried |= 1 << index
        self._index = index
        self._pool = pool = model.pools[index]
        pool.outstanding += 1
        return pool

    def release(self) -> None:
        """Count the request as the replica's no more."""
        if self._pool is not None:
            self._pool.outstanding -= 1
            self._pool = None

    def retry_all(self) -> None:
        """Try each replica once more, if all were."""
        if self._tried == (1 << len(self.model.pools)) - 1:
            self._tried = 0

    @property
    def place(self) -> int:
        """Which of the urls in the config the replica belongs to."""
        return self.model.places[self._index]

    @property
    def replica(self) -> Replica:
        """The replica that was picked last."""
        return self.model.replicas[self._index]

    @property
    def pool(self) -> Pool:
        """The connections of that replica."""
        return self.model.pools[self._index]

    def answered(self) -> None:
        """Note that the replica did not fail: the final head of its response came."""
        health = self.model.replicas[self._index].health
        if health.ejected:
            health.succeeded()

    def failed(self, cause: int) -> None:
        """Note why it did not serve the request (see causes)."""
        self._cause = max(self._cause, cause)

    def error(self) -> ApiError:
        """Return what the client is told when no replica is left."""
        return error_for(self._cause, self.model)
