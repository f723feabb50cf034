"""What one client has used, and whether it may have more.

A minute is the last sixty seconds: of the minute of the clock before, as much counts as is yet to
pass of the current one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from llmhop.config.tables.client import ClientConfig
from llmhop.errors import ApiError, client_limit_reached
from llmhop.quota.store import EMPTY, QuotaStore, Row

_MINUTE_S: Final = 60
_IN_FLIGHT_RETRY_S: Final = 1


class Quota:
    """The use of one client, over all processes. `row` is what this one adds to it."""

    __slots__ = ("_client", "_clock", "_index", "_names", "_slot", "_store", "row")

    def __init__(self, store: QuotaStore, slot: int, clock: Callable[[], float]) -> None:
        """`clock` is the monotonic one, which all processes have in common, in seconds."""
        self._store = store
        self._slot = slot
        self._clock = clock
        self._client: ClientConfig | None = None
        self._index = self._names = 0
        self.row: Row = EMPTY

    def serve(self, client: ClientConfig, index: int, names: int) -> None:
        """Keep to the limits of `client`, whose row by these names is `index`."""
        self._client, self._index, self._names = client, index, names

    def forget(self) -> None:
        """Count for nobody any more: the client has no limits now."""
        self._client = None

    def enter(self) -> None:
        """Count a request in. Raises ApiError (429) where the client has had enough for now."""
        client = self._client
        if client is None:
            return
        now = self._clock()
        minute, passed = divmod(now, _MINUTE_S)
        in_flight, *here = self._row_at(int(minute))
        # Before the sum is looked at, so that of two processes at once none lets one too many in.
        self._write((in_flight + 1, here[0], here[1] + 1, here[2], here[3], here[4]))
        try:
            self._check(client, int(minute), passed)
        except ApiError:
            self._write((in_flight, here[0], here[1], here[2], here[3], here[4]))
            raise

    def leave(self) -> None:
        """Count it out."""
        in_flight, *rest = self.row
        self._write((in_flight - 1, rest[0], rest[1], rest[2], rest[3], rest[4]))

    def charge(self, tokens: int) -> None:
        """Count the tokens that a request took."""
        in_flight, minute, requests, used, before, used_before = self._row_at(
            int(self._clock() // _MINUTE_S)
        )
        self._write((in_flight, minute, requests, used + tokens, before, used_before))

    def _check(self, client: ClientConfig, minute: int, passed: float) -> None:
        in_flight = requests = tokens = requests_before = tokens_before = 0
        for row in self._store.rows(self._names, self._index):
            row = _at_minute(row, minute)
            in_flight += row[0]
            requests += row[2]
            tokens += row[3]
            requests_before += row[4]
            tokens_before += row[5]
        if client.max_concurrent is not None and in_flight > client.max_concurrent:
            what = f"{client.max_concurrent} requests at once"
            raise client_limit_reached(what, "requests", _IN_FLIGHT_RETRY_S)
        waits = [(0, "", "")]
        limit = client.requests_per_minute
        if limit is not None:
            wait = _wait(requests_before, requests - 1, limit - 1, passed)
            waits.append((wait, f"{limit} requests a minute", "requests"))
        limit = client.tokens_per_minute
        if limit is not None:
            wait = _wait(tokens_before, tokens, limit - 1, passed)
            waits.append((wait, f"{limit} tokens a minute", "tokens"))
        wait, what, kind = max(waits)
        if wait:
            raise client_limit_reached(what, kind, wait)

    def _row_at(self, minute: int) -> Row:
        return _at_minute(self.row, minute)

    def _write(self, row: Row) -> None:
        self.row = row
        if self._client is not None:
            self._store.write(self._slot, self._index, row)


def _at_minute(row: Row, minute: int) -> Row:
    """Return what a row says of a minute, that it was written in or a later one."""
    in_flight, written, requests, tokens, _, _ = row
    if written == minute:
        return row
    if written == minute - 1:
        return (in_flight, minute, 0, 0, requests, tokens)
    return (in_flight, minute, 0, 0, 0, 0)


def _wait(before: int, current: int, most: int, passed: float) -> int:
    """Return in how many whole seconds the use is down to `most`; 0 where it is.

    `passed` are the seconds of the current minute, `before` is the use in the one before.
    """
    left = _MINUTE_S - passed
    if before * left / _MINUTE_S + current <= most:
        return 0
    if current <= most:
        return max(1, math.ceil(left - _MINUTE_S * (most - current) / before))
    return max(1, math.ceil(left + _MINUTE_S * (1 - most / current)))
