"""What hostile and odd backends send, as data, and what a client must see of it.

A backend sends `raw`, then `later` once the client has the head, then closes if `closes`.
The client sees `status` and `body`; `cut` says that its connection ends before the response does,
and a status of 502 that nothing of `raw` was relayed. `reused` says whether the backend's
connection may carry another request.
"""

from __future__ import annotations

from typing import NamedTuple

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TWO = OK + b"Content-Length: 2\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


class Case(NamedTuple):
    """One response."""

    raw: bytes
    status: int = 200
    body: bytes = b""
    later: bytes = b""
    cut: bool = False
    closes: bool = False
    reused: bool = False
    method: str = "POST"


def whole(raw: bytes, body: bytes = b"ok", status: int = 200, method: str = "POST") -> Case:
    """A response after which the connection is good for another."""
    return Case(raw, status, body, reused=True, method=method)


def broken(raw: bytes) -> Case:
    """No response at all."""
    return Case(raw, 502, closes=True)


RESPONSES: dict[str, Case] = {
    "a length": whole(TWO + b"\r\nok"),
    "a length of 0": whole(OK + b"Content-Length: 0\r\n\r\n", b""),
    "chunks": whole(CHUNKED + b"1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n"),
    "chunks with trailers": whole(CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n\r\n"),
    "no reason": whole(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
    "interim heads": whole(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + TWO + b"\r\nok"),
    "204": whole(b"HTTP/1.1 204 No\r\n\r\n", b"", 204),
    "204 with a length": whole(b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", b"", 204),
    "304 with a length": whole(b"HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n", b"", 304),
    "304 with a coding": whole(b"HTTP/1.1 304 Not\r\n" + CHUNKED[17:], b"", 304),
    "HEAD with a length": whole(TWO + b"\r\n", b"", method="HEAD"),
    "HEAD with a coding": whole(CHUNKED, b"", method="HEAD"),
    "HEAD with neither": whole(OK + b"\r\n", b"", method="HEAD"),
    # The end of the connection is the end of these.
    "no length": Case(OK + b"\r\nok", body=b"ok", closes=True),
    "HTTP/1.0": Case(TWO.replace(b"1.1", b"1.0") + b"\r\nok", body=b"ok", closes=True),
    "HTTP/1.0 that wants to go on": Case(
        TWO.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\nok", body=b"ok"
    ),
    "Connection: close": Case(TWO + b"Connection: close\r\n\r\nok", body=b"ok"),
    # Bytes after the end: nobody's, and the connection ends.
    "a second response": Case(TWO + b"\r\nok" + EVIL, body=b"ok"),
    "a second response after chunks": Case(CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + EVIL, body=b"ok"),
    "a line end after a response": Case(TWO + b"\r\nok\r\n", body=b"ok"),
    "a body in 204": Case(b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok", 204),
    "chunks in 204": Case(b"HTTP/1.1 204 No\r\n" + CHUNKED[17:] + b"2\r\nok\r\n0\r\n\r\n", 204),
    "a body in 304": Case(b"HTTP/1.1 304 Not\r\nContent-Length: 2\r\n\r\nok", 304),
    "a response in the body of 304": Case(b"HTTP/1.1 304 Not\r\n\r\n" + EVIL, 304),
    "a body for HEAD": Case(TWO + b"\r\nok", method="HEAD"),
    "chunks for HEAD": Case(CHUNKED + b"2\r\nok\r\n0\r\n\r\n", method="HEAD"),
    # Broken off after the head was relayed.
    "shorter than its length": Case(TWO + b"\r\n", later=b"o", body=b"o", cut=True, closes=True),
    "chunks without an end": Case(
        CHUNKED, later=b"2\r\nok\r\n", body=b"2\r\nok\r\n", cut=True, closes=True
    ),
    "an end of chunks without its last line": Case(
        CHUNKED, later=b"2\r\nok\r\n0\r\n", body=b"2\r\nok\r\n0\r\n", cut=True, closes=True
    ),
    "a chunk size that is none": Case(CHUNKED, later=b"xyz\r\n", cut=True),
    "a chunk size of more than 64 bits": Case(CHUNKED, later=b"1" * 17 + b"\r\n", cut=True),
    "a negative chunk size": Case(CHUNKED, later=b"-2\r\nok\r\n", cut=True),
    "a chunk longer than its size": Case(CHUNKED, later=b"2\r\nok" + EVIL, cut=True),
    "a bare LF after a chunk size": Case(CHUNKED, later=b"2\nok\r\n0\r\n\r\n", cut=True),
    "a bare CR in a chunk extension": Case(CHUNKED, later=b"2;\r\rok\r\n", cut=True),
    "an endless chunk extension": Case(CHUNKED, later=b"2;" + b"x" * 5_000, cut=True),
    "a trailer without a colon": Case(CHUNKED, later=b"0\r\nX\r\n\r\n", cut=True),
    "a length as a trailer": Case(CHUNKED, later=b"0\r\nContent-Length: 9\r\n\r\n", cut=True),
    "a coding as a trailer": Case(
        CHUNKED, later=b"0\r\nTRANSFER-ENCODING: chunked\r\n\r\n", cut=True
    ),
    "endless trailers": Case(CHUNKED, later=b"0\r\n" + b"X: y\r\n" * 5_000, cut=True),
    # No response at all.
    "nothing": broken(b""),
    "a head that is cut short": broken(OK + b"Content-Le"),
    "no HTTP": broken(b"garbage\r\n\r\n"),
    "a request": broken(b"GET / HTTP/1.1\r\nHost: r\r\n\r\n"),
    "TLS": broken(b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"),
    "HTTP/2": broken(TWO.replace(b"1.1", b"2.0") + b"\r\nok"),
    "HTTP/1.2": broken(TWO.replace(b"1.1", b"1.2") + b"\r\nok"),
    "RTSP": broken(TWO.replace(b"HTTP/1.1", b"RTSP/1.0") + b"\r\nok"),
    "ICE": broken(TWO.replace(b"HTTP/1.1", b"ICE/1.0") + b"\r\nok"),
    "lower-case version": broken(TWO.replace(b"HTTP", b"http") + b"\r\nok"),
    "a line end before the head": broken(b"\r\n" + TWO + b"\r\nok"),
    "two spaces before the status": broken(TWO.replace(b" 200", b"  200") + b"\r\nok"),
    "no status": broken(b"HTTP/1.1\r\n\r\n"),
    "a status of two digits": broken(TWO.replace(b"200", b"20") + b"\r\nok"),
    "a status of four digits": broken(TWO.replace(b"200", b"2000") + b"\r\nok"),
    "a status below 100": broken(TWO.replace(b"200", b"099") + b"\r\nok"),
    "a status beyond 599": broken(TWO.replace(b"200", b"600") + b"\r\nok"),
    "NUL in the reason": broken(TWO.replace(b"OK", b"O\x00K") + b"\r\nok"),
    "bare CR in the reason": broken(TWO.replace(b"OK", b"O\rK") + b"\r\nok"),
    "two lengths": broken(TWO + b"Content-Length: 3\r\n\r\nok"),
    "one length twice": broken(TWO + b"Content-Length: 2\r\n\r\nok"),
    "a list of lengths": broken(OK + b"Content-Length: 2, 2\r\n\r\nok"),
    "a negative length": broken(OK + b"Content-Length: -2\r\n\r\nok"),
    "a signed length": broken(OK + b"Content-Length: +2\r\n\r\nok"),
    "an empty length": broken(OK + b"Content-Length:\r\n\r\nok"),
    "a length beyond 64 bits": broken(OK + b"Content-Length: 18446744073709551618\r\n\r\nok"),
    "a length and chunks": broken(TWO + CHUNKED[17:] + b"2\r\nok\r\n0\r\n\r\n"),
    "chunks and a length": broken(CHUNKED[:-2] + TWO[17:] + b"\r\n2\r\nok\r\n0\r\n\r\n"),
    "an unknown coding": broken(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "identity": broken(OK + b"Transfer-Encoding: identity\r\n\r\nok"),
    "two codings": broken(CHUNKED[:-2] + CHUNKED[17:] + b"0\r\n\r\n"),
    "a folded field": broken(OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok"),
    "a bare LF in the head": broken(OK + b"X: a\nContent-Length: 2\r\n\r\nok"),
    "a bare CR in the head": broken(OK + b"X: a\rContent-Length: 2\r\n\r\nok"),
    "NUL in a value": broken(OK + b"X: \x00\r\nContent-Length: 2\r\n\r\nok"),
    "a space before a colon": broken(OK + b"Content-Length : 2\r\n\r\nok"),
    "a field without a name": broken(TWO + b": x\r\n\r\nok"),
    "a field without a colon": broken(TWO + b"X\r\n\r\nok"),
    "101 that nobody asked for": broken(b"HTTP/1.1 101 Go\r\n\r\n"),
    "101 with an upgrade": broken(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    "endless interim heads": broken(b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + TWO + b"\r\nok"),
    "a head without an end": broken(OK + b"X: " + b"y" * 70_000),
    "a huge head": broken(TWO + b"X: " + b"y" * 70_000 + b"\r\n\r\nok"),
    "a broken chunk at once": broken(CHUNKED + b"xyz\r\n"),
}
