"""Header lines of a client, and those of them that the backend reads."""

from __future__ import annotations

FIELDS: dict[str, tuple[list[bytes], list[bytes]]] = {
    "what belongs to one connection": (
        [
            b"Connection: keep-alive, X-A",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authorization: Basic x",
            b"TE: trailers",
            b"Trailer: X-B",
            b"Upgrade: x",
            b"X-A: 1",
            b"X-B: 2",
        ],
        [b"X-B: 2"],
    ),
    "Connection names Authorization": ([b"Connection: authorization", b"Authorization: x"], []),
    "Connection names Content-Length": ([b"Connection: content-length"], []),
    "Connection names Host": ([b"Connection: host"], []),
    "Connection names what is forged": (
        [b"Connection: x-forwarded-for, x-forwarded-host", b"X-Forwarded-For: 1.2.3.4"],
        [],
    ),
    "Connection twice, in any case": (
        [
            b"CONNECTION: x-a",
            b"connection:\tX-B\t, x_d",
            b"X-A: 1",
            b"x-b: 2",
            b"X-C: 3",
            b"X_D: 4",
        ],
        [b"X-C: 3"],
    ),
    "a client's own place": (
        [
            b"X-Forwarded-For: 1.2.3.4",
            b"x-forwarded-for: 5.6.7.8",
            b"X-FORWARDED-PROTO: https",
            b"X-Forwarded-Host: evil",
            b"X-Forwarded-Port: 1",
            b"X-Forwarded-Prefix: /x",
            b"X-Forwarded: for=1.2.3.4",
            b"Forwarded: for=1.2.3.4",
            b"X-Real-IP: 1.2.3.4",
        ],
        [],
    ),
    "the same, for gateways that turn hyphens into underscores": (
        [
            b"X_Forwarded_For: 1.2.3.4",
            b"x-forwarded_proto: https",
            b"X_Real-IP: 1.2.3.4",
            b"Proxy_Authorization: x",
            b"X_Mine: 1",
        ],
        [b"X_Mine: 1"],
    ),
    "what only looks like it": (
        [b"X-Forward: 1", b"XX-Forwarded-For: 2", b"Content-Type: text/plain", b"X-Empty:"],
        [b"X-Forward: 1", b"XX-Forwarded-For: 2", b"Content-Type: text/plain", b"X-Empty: "],
    ),
}
