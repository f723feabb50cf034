"""Header lines of a backend's response, and those of them that the client reads."""

from __future__ import annotations

RESPONSE_FIELDS: dict[str, tuple[list[bytes], list[bytes]]] = {
    "what belongs to one connection": (
        [
            b"Connection: keep-alive, X-A",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authenticate: Basic",
            b"TE: trailers",
            b"Upgrade: h2c",
            b"X-A: 1",
            b"X-B: 2",
        ],
        [b"X-B: 2"],
    ),
    "the same, not named in Connection": (
        [b"keep-alive: timeout=5", b"proxy-connection: x", b"te: trailers", b"upgrade: h2c"],
        [],
    ),
    "Connection twice, in any case": (
        [
            b"CONNECTION: x-a",
            b"connection:\tX-B\t, x-d, ,close",
            b"X-A: 1",
            b"x-b: 2",
            b"X-A: 3",
            b"X-C: 4",
            b"X-D: 5",
            b"Close: 6",
        ],
        [b"X-C: 4"],
    ),
    "Connection names what llmhop writes": (
        [b"Connection: content-length, transfer-encoding, x-request-id", b"X-Request-Id: theirs"],
        [],
    ),
    "Connection names what all connections have": (
        [
            b"Connection: set-cookie, content-type, via",
            b"Set-Cookie: a=1",
            b"Content-Type: text/plain",
            b"Via: 1.1 x",
        ],
        [b"Via: 1.1 x"],
    ),
    "an id of its own": ([b"X-Request-Id: theirs", b"x-request-id: twice"], []),
    "what is for the client": (
        [
            b"Set-Cookie: a=1",
            b"Set-Cookie: b=2",
            b"set-cookie: c=3",
            b"Server: uvicorn",
            b"Cache-Control: no-cache",
            b"Content-Encoding: gzip",
            b"WWW-Authenticate: Bearer",
            b"Trailer: X-T",
            b"X-Empty:",
            b"X-High: \xff",
        ],
        [
            b"Set-Cookie: a=1",
            b"Set-Cookie: b=2",
            b"set-cookie: c=3",
            b"Server: uvicorn",
            b"Cache-Control: no-cache",
            b"Content-Encoding: gzip",
            b"WWW-Authenticate: Bearer",
            b"Trailer: X-T",
            b"X-Empty: ",
            b"X-High: \xff",
        ],
    ),
    "what only looks like it": (
        [b"X-Connection: 1", b"Keep-Alive-X: 2", b"Content-Lengths: 3", b"X-Request-Ids: 4"],
        [b"X-Connection: 1", b"Keep-Alive-X: 2", b"Content-Lengths: 3", b"X-Request-Ids: 4"],
    ),
}
