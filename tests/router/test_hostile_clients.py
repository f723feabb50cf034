"""Requests made to confuse: each is refused, and the connection ends with the refusal."""

from __future__ import annotations

import socket

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support import Wire, chat, post

BODY = chat()
SMUGGLED = post(chat(), "/smuggled")
START = b"POST /v1/x HTTP/1.1\r\nHost: r\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

REFUSED = {
    "length and chunks": START + LENGTH + CHUNKED + b"\r\n" + CHUNKS,
    "chunks and length": START + CHUNKED + LENGTH + b"\r\n" + CHUNKS,
    "two lengths": START + LENGTH + b"Content-Length: 1\r\n\r\n" + BODY,
    "one length twice": START + LENGTH + LENGTH + b"\r\n" + BODY,
    "list of lengths": START + b"Content-Length: 1, 1\r\n\r\n" + BODY,
    "signed length": START + b"Content-Length: +41\r\n\r\n" + BODY,
    "hex length": START + b"Content-Length: 0x29\r\n\r\n" + BODY,
    "empty length": START + b"Content-Length:\r\n\r\n" + BODY,
    "huge length": START + b"Content-Length: 99999999999999999999999\r\n\r\n" + BODY,
    "unknown coding": START + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "misspelt coding": START + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "chunked twice": START + CHUNKED + CHUNKED + b"\r\n" + CHUNKS,
    "quoted coding": START + b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKS,
    "coding with a vertical tab": START + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + CHUNKS,
    "chunks in HTTP/1.0": START.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + CHUNKS,
    "space before colon": START + b"Content-Length : 41\r\n\r\n" + BODY,
    "folded field": START + LENGTH + b"X: a\r\n b\r\n\r\n" + BODY,
    "folded with a tab": START + LENGTH + b"X: a\r\n\tb\r\n\r\n" + BODY,
    "space before the first field": b"POST / HTTP/1.1\r\n Host: r\r\n" + LENGTH + b"\r\n" + BODY,
    "bare LF in the head": START + LENGTH + b"X: a\nY: b\r\n\r\n" + BODY,
    "bare LF after the request line": START.replace(b"\r\n", b"\n", 1) + b"\r\n",
    "bare LF before the request": b"\n" + START + LENGTH + b"\r\n" + BODY,
    "bare CR in a value": START + LENGTH + b"X: a\rb\r\n\r\n" + BODY,
    "NUL in a value": START + LENGTH + b"X: a\x00b\r\n\r\n" + BODY,
    "control character in a value": START + LENGTH + b"X: a\x01b\r\n\r\n" + BODY,
    "field without a name": START + LENGTH + b": a\r\n\r\n" + BODY,
    "field without a colon": START + LENGTH + b"X\r\n\r\n" + BODY,
    "name with a space": START + LENGTH + b"X Y: a\r\n\r\n" + BODY,
    "no Host": b"POST / HTTP/1.1\r\n" + LENGTH + b"\r\n" + BODY,
    "two Hosts": START + b"Host: other\r\n" + LENGTH + b"\r\n" + BODY,
    "nothing but line ends": b"\r\n\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "unknown version": START.replace(b"1.1", b"1.2") + LENGTH + b"\r\n" + BODY,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "lower-case method": b"post / HTTP/1.1\r\nHost: r\r\n\r\n",
    "CONNECT": b"CONNECT r:80 HTTP/1.1\r\nHost: r\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: r\r\n\r\n",
    "relative target": b"POST v1/x HTTP/1.1\r\nHost: r\r\n\r\n",
    "target of another scheme": b"POST ftp://r/ HTTP/1.1\r\nHost: r\r\n\r\n",
    "user in the target": b"POST http://u@r/ HTTP/1.1\r\nHost: r\r\n\r\n",
    "fragment": b"POST /a#b HTTP/1.1\r\nHost: r\r\n\r\n",
    "space in the target": b"POST /a b HTTP/1.1\r\nHost: r\r\n\r\n",
    "NUL in the target": b"POST /a\x00 HTTP/1.1\r\nHost: r\r\n\r\n",
    "parent directory": b"POST /a/../b HTTP/1.1\r\nHost: r\r\n\r\n",
    "parent directory at the end": b"POST /a/.. HTTP/1.1\r\nHost: r\r\n\r\n",
    "parent directory in escapes": b"POST /a/%2e%2E/b HTTP/1.1\r\nHost: r\r\n\r\n",
    "parent directory behind %2f": b"POST /a%2f..%2fb HTTP/1.1\r\nHost: r\r\n\r\n",
    "unknown Expect": START + LENGTH + b"Expect: gold\r\n\r\n" + BODY,
    "two Expects": START + LENGTH + b"Expect: 100-continue\r\n" * 2 + b"\r\n" + BODY,
    "huge head": START + b"X: " + b"y" * 70_000,
    "huge head with an end": START + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
    "chunk size not hex": START + CHUNKED + b"\r\ng\r\n",
    "chunk size with 0x": START + CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n",
    "chunk size with a sign": START + CHUNKED + b"\r\n+1\r\na\r\n0\r\n\r\n",
    "chunk size with an underscore": START + CHUNKED + b"\r\n1_0\r\n",
    "chunk size with space before": START + CHUNKED + b"\r\n 1\r\na\r\n0\r\n\r\n",
    "chunk size too long": START + CHUNKED + b"\r\n" + b"0" * 15 + b"1\r\na\r\n0\r\n\r\n",
    "negative chunk size": START + CHUNKED + b"\r\n-1\r\na\r\n0\r\n\r\n",
    "no chunk size": START + CHUNKED + b"\r\n\r\n",
    "bare LF after a chunk size": START + CHUNKED + b"\r\n1\na\r\n0\r\n\r\n",
    "bare LF in a chunk extension": START + CHUNKED + b"\r\n1;a\nb\r\na\r\n0\r\n\r\n",
    "bare CR in a chunk extension": START + CHUNKED + b"\r\n1;a\rb\r\na\r\n0\r\n\r\n",
    "chunk longer than its size": START + CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n",
    "bare LF after a chunk": START + CHUNKED + b"\r\n1\r\na\n0\r\n\r\n",
    "endless chunk extension": START + CHUNKED + b"\r\n1;" + b"x" * 5_000,
    "trailer without a colon": START + CHUNKED + b"\r\n0\r\nX\r\n\r\n",
    "endless trailers": START + CHUNKED + b"\r\n0\r\n" + b"X: y\r\n" * 5_000,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_a_hostile_request_is_refused_and_ends_the_connection(
    raw: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(raw + SMUGGLED)
        response = wire.response()
        assert response.status in (400, 417, 431, 505)
        assert response.error["message"]
        assert response.headers["connection"] == "close"
        assert wire.at_end()
    assert backend.requests == []


ACCEPTED = {
    "an empty line before the request": b"\r\n" + START + LENGTH + b"\r\n" + BODY,
    "white space around a value": START
    + b"X:\t a \t\r\nContent-Length:  %d  \r\n\r\n" % len(BODY)
    + BODY,
    "names in any case": START + LENGTH.upper() + b"\r\n" + BODY,
    "bytes beyond ASCII in a value": START + LENGTH + b"X: \xff\xc3\xa9\r\n\r\n" + BODY,
    "chunk extensions": START + CHUNKED + b'\r\n%X ; a="b"\r\n%b\r\n00\r\n\r\n' % (len(BODY), BODY),
    "chunked in capitals": START + CHUNKED.upper() + b"\r\n" + CHUNKS,
    "dots in names": START.replace(b"/v1/x", b"/v1/.a/b../c.d") + LENGTH + b"\r\n" + BODY,
    "dots in a query": START.replace(b"/v1/x", b"/v1/x?p=/../") + LENGTH + b"\r\n" + BODY,
    "an upgrade, ignored": START + LENGTH + b"Connection: upgrade\r\nUpgrade: x\r\n\r\n" + BODY,
    "a length of leading zeros": START + b"Content-Length: 00%d\r\n\r\n" % len(BODY) + BODY,
}


@pytest.mark.parametrize("raw", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_an_odd_but_valid_request_is_relayed_and_the_next_one_found(
    raw: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(raw + post(chat(), "/next"))
        assert wire.response().body == BODY
        assert wire.response().body == chat()
    assert [request.body for request in backend.requests] == [BODY, chat()]
    assert backend.requests[0].values("content-length") == [str(len(BODY))]
    assert backend.requests[1].line == "POST /next HTTP/1.1"


def test_a_request_in_single_bytes_is_the_same_request(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    raw = START + CHUNKED + b"\r\n" + CHUNKS + START + LENGTH + b"\r\n" + BODY
    with Wire(router.port) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in raw:
            wire.send(bytes([byte]))
        assert wire.response().body == BODY
        assert wire.response().body == BODY
