"""Caches decisions on the last head of one client's connection, for its repeats.

A client sends much the same head with every request of a connection, and heads that repeat are
one object (see http.head_cache). So a decision about a head is found again by its identity.
"""

from __future__ import annotations

from llmhop.http.body.large_body import Body
from llmhop.http.parsed_head import RequestHead
from llmhop.relay import rewrite
from llmhop.routing.decision import ANYONE, Answer, MetricsPage, Principal, ReadinessQuery, Route
from llmhop.routing.table import RoutingTable


class HeadMemo:
    """Remembers the last head that was let in, and the last one that was sent on.

    `principal` is whom the head is from that `admit` saw last. `cors` are the lines by which a
    browser knows whether the page that sent it may read the answer.
    """

    __slots__ = (
        "_admitted",
        "_client",
        "_on_loopback",
        "_route",
        "_sent",
        "_starts",
        "cors",
        "principal",
        "table",
    )

    def __init__(self, table: RoutingTable, on_loopback: bool = False) -> None:
        """`table` is the one in force now; `admit` takes a newer one.

        `on_loopback` says that only this host reaches the address that the client connected to, and
        that it did so in the clear.
        """
        self.table = table
        self.cors = b""
        self.principal = ANYONE
        self._on_loopback = on_loopback
        self._client = (b"unknown", b"http")
        self._admitted: RequestHead | None = None
        self._sent: RequestHead | None = None
        self._route: Route | None = None
        self._starts: list[bytes] = []

    def connected(self, address: bytes, scheme: bytes) -> None:
        """Take note of the client's address and scheme, which its requests are sent on with."""
        self._client = (address, scheme)

    def admit(self, head: RequestHead, table: RoutingTable) -> Principal:
        """Take `table` for a request, if that lets it pass; return whom it is from.

        Raises ApiError (401, 403).
        """
        if head is not self._admitted or table is not self.table:
            self.table = table
            self._admitted = None
            self.cors = table.origins.response_lines(head)
            self.principal = table.authorize(head, self._on_loopback)
            self._admitted = head
        return self.principal

    def decide(
        self, head: RequestHead, body: Body
    ) -> Answer | MetricsPage | ReadinessQuery | Route:
        """Return what becomes of the request whose head was let in. Raises ApiError."""
        return self.table.decide(head, body, self.principal)

    def decide_by_head(self, head: RequestHead) -> Answer | MetricsPage | ReadinessQuery | None:
        """Return what answers it whatever its body is, or None. Raises ApiError."""
        return self.table.decide_by_head(head, self.principal)

    def request_head(
        self, head: RequestHead, route: Route, replica: int, body_bytes: int, request_id: bytes
    ) -> bytes:
        """Return the head that a replica of the backend gets; `route` is one of `table`."""
        # A table never shares its routes with another: the same route is the same config.
        if head is not self._sent or route is not self._route:
            self._sent, self._route = head, route
            self._starts = [b""] * len(route.hosts)
        start = self._starts[replica]
        if not start:
            start = self._starts[replica] = self._start(head, route, replica)
        rest = route.header_lines
        if head.framed:
            return b"%b%b\r\nContent-Length: %d\r\n%b" % (start, request_id, body_bytes, rest)
        return b"%b%b\r\n%b" % (start, request_id, rest)

    def streamed_head(
        self,
        head: RequestHead,
        route: Route,
        replica: int,
        length: int | None,
        request_id: bytes,
    ) -> bytes:
        """Return the head before a body that goes on as it comes; in chunks without a `length`."""
        if length is not None:
            return self.request_head(head, route, replica, length, request_id)
        start = self._start(head, route, replica)
        rest = route.header_lines
        return b"%b%b\r\nTransfer-Encoding: chunked\r\n%b" % (start, request_id, rest)

    def _start(self, head: RequestHead, route: Route, replica: int) -> bytes:
        table = self.table
        return rewrite.request_start(
            head, route, replica, self._client, table.pseudonym, strip_auth=table.has_auth
        )
