"""Requests made to confuse, as data: what the client sends, and what must become of it.

REFUSED: answered with this status and the end of the connection; no backend hears of it.
FORWARDED: read by the backends as exactly these messages, and the connection goes on.
ENDED: read as these messages, and the connection ends after their answers.

The tests put a further request behind each, which must be read as one where the connection goes
on, and must not be seen where it does not.
"""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """A request as the backend of `model` reads it."""

    model: str
    method: bytes
    target: bytes
    body: bytes


def body_for(model: bytes) -> bytes:
    """A body that names a model."""
    return b'{"model":"%b","messages":[]}' % model


MAX_BODY_BYTES = 1_000_000  # of the router under test

BODY = body_for(b"a")
SIZE = b"%d" % len(BODY)
START = b"POST /v1/x HTTP/1.1\r\nHost: r\r\n"
LENGTH = b"Content-Length: " + SIZE + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
IN_CHUNKS = START + CHUNKED + b"\r\n"
CLOSE = b"Connection: close\r\n"


def request_line(line: bytes) -> bytes:
    """A whole request of this request line."""
    return line + b"\r\nHost: r\r\n" + LENGTH + b"\r\n" + BODY


def with_lines(*lines: bytes) -> bytes:
    """A whole request with these header lines before its length."""
    return START + b"".join([line + b"\r\n" for line in lines]) + LENGTH + b"\r\n" + BODY


def of_length(value: bytes) -> bytes:
    """A request with this Content-Length."""
    return START + b"Content-Length:" + value + b"\r\n\r\n" + BODY


def of_coding(*lines: bytes, and_length: bool = False) -> bytes:
    """A request with a chunked body, of which these lines tell."""
    length = LENGTH if and_length else b""
    return START + b"".join([line + b"\r\n" for line in lines]) + length + b"\r\n" + CHUNKS


_BAD_REQUESTS = {
    # Two ways to tell where the body ends.
    "length and chunks": START + LENGTH + CHUNKED + b"\r\n" + CHUNKS,
    "chunks and length": START + CHUNKED + LENGTH + b"\r\n" + CHUNKS,
    "chunks and a length of 0": START + CHUNKED + b"Content-Length: 0\r\n\r\n" + CHUNKS,
    "length and chunks behind a tab": of_coding(b"Transfer-Encoding:\tchunked", and_length=True),
    "length and chunks in capitals": of_coding(b"TRANSFER-ENCODING: CHUNKED", and_length=True),
    "length and an empty coding": of_coding(b"Transfer-Encoding:", and_length=True),
    "length and an unknown coding": of_coding(b"Transfer-Encoding: xchunked", and_length=True),
    "length and identity": of_coding(b"Transfer-Encoding: identity", and_length=True),
    "length and a folded coding": of_coding(b"Transfer-Encoding:\r\n chunked", and_length=True),
    # Transfer-Encoding.
    "unknown coding": of_coding(b"Transfer-Encoding: gzip, chunked"),
    "misspelt coding": of_coding(b"Transfer-Encoding: xchunked"),
    "chunked, identity": of_coding(b"Transfer-Encoding: chunked, identity"),
    "identity, chunked": of_coding(b"Transfer-Encoding: identity, chunked"),
    "identity": of_coding(b"Transfer-Encoding: identity"),
    "chunked in a list with nothing": of_coding(b"Transfer-Encoding: , chunked"),
    "chunked with a parameter": of_coding(b"Transfer-Encoding: chunked;q=1"),
    "chunked twice": of_coding(CHUNKED[:-2], CHUNKED[:-2]),
    "chunked and identity in two fields": of_coding(CHUNKED[:-2], b"Transfer-Encoding: identity"),
    "identity and chunked in two fields": of_coding(b"Transfer-Encoding: identity", CHUNKED[:-2]),
    "empty coding": of_coding(b"Transfer-Encoding:"),
    "quoted coding": of_coding(b'Transfer-Encoding: "chunked"'),
    "coding with a vertical tab": of_coding(b"Transfer-Encoding:\x0bchunked"),
    "coding with a form feed behind": of_coding(b"Transfer-Encoding: chunked\x0c"),
    "coding with a no-break space": of_coding(b"Transfer-Encoding:\xa0chunked"),
    "coding with NUL": of_coding(b"Transfer-Encoding: chunked\x00"),
    "coding before a space": of_coding(b"Transfer-Encoding : chunked"),
    "coding before a tab": of_coding(b"Transfer-Encoding\t: chunked"),
    "coding behind NUL": of_coding(b"\x00Transfer-Encoding: chunked"),
    "coding behind a byte beyond ASCII": of_coding(b"\xffTransfer-Encoding: chunked"),
    "coding behind a bare LF": of_coding(b"X: y\nTransfer-Encoding: chunked", and_length=True),
    "coding behind a bare CR": of_coding(b"X: y\rTransfer-Encoding: chunked", and_length=True),
    "coding in a folded line": of_coding(b"X: y", b" Transfer-Encoding: chunked", and_length=True),
    "chunks in HTTP/1.0": IN_CHUNKS.replace(b"1.1", b"1.0") + CHUNKS,
    # Content-Length.
    "two lengths": START + LENGTH + b"Content-Length: 1\r\n\r\n" + BODY,
    "one length twice": START + LENGTH + LENGTH + b"\r\n" + BODY,
    "one length twice, in other case": START + LENGTH + LENGTH.upper() + b"\r\n" + BODY,
    "list of lengths": of_length(b" 1, 1"),
    "list of a length and nothing": of_length(b" " + SIZE + b","),
    "two numbers": of_length(b" 1 1"),
    "two numbers behind a tab": of_length(b" 1\t1"),
    "signed length": of_length(b" +" + SIZE),
    "negative length": of_length(b" -1"),
    "negative zero": of_length(b" -0"),
    "hex length": of_length(b" 0x1c"),
    "hex digits": of_length(b" 1c"),
    "length with a point": of_length(b" 1.0"),
    "length with an exponent": of_length(b" 1e1"),
    "length with an underscore": of_length(b" 1_0"),
    "length with a letter behind": of_length(b" " + SIZE + b"a"),
    "length of other digits": of_length(" ٢٨".encode()),
    "quoted length": of_length(b' "' + SIZE + b'"'),
    "empty length": of_length(b""),
    "length with NUL": of_length(b" " + SIZE + b"\x00"),
    "length beyond 64 bits": of_length(b" 18446744073709551644"),
    "huge length": of_length(b" " + b"9" * 23),
    "length before a space": START + b"Content-Length : " + SIZE + b"\r\n\r\n" + BODY,
    "folded length": of_length(b"\r\n " + SIZE),
    # Lines of the head.
    "folded field": with_lines(b"X: a", b" b"),
    "folded with a tab": with_lines(b"X: a", b"\tb"),
    "folded with nothing": with_lines(b"X: a", b" "),
    "space before the first field": b"POST / HTTP/1.1\r\n Host: r\r\n" + LENGTH + b"\r\n" + BODY,
    "bare LF in the head": with_lines(b"X: a\nY: b"),
    "bare LF after the request line": START.replace(b"\r\n", b"\n", 1) + b"\r\n",
    "bare LF before the request": b"\n" + with_lines(),
    "bare LF at the end of the head": START + LENGTH + b"\n" + BODY + b"\r\n\r\n",
    "bare CR in a value": with_lines(b"X: a\rb"),
    "bare CR before the line's end": with_lines(b"X: a\r"),
    "bare CR in the request line": request_line(b"POST /v1/x\r HTTP/1.1"),
    "two empty lines before the request": b"\r\n\r\n" + with_lines(),
    "NUL in a value": with_lines(b"X: a\x00b"),
    "NUL in a name": with_lines(b"X\x00Y: a"),
    "control character in a value": with_lines(b"X: a\x01b"),
    "DEL in a value": with_lines(b"X: a\x7fb"),
    "control character in a name": with_lines(b"X\x01: a"),
    "field without a name": with_lines(b": a"),
    "field without a colon": with_lines(b"X"),
    "name with a space": with_lines(b"X Y: a"),
    "name with a bracket": with_lines(b"X(): a"),
    "name beyond ASCII": with_lines(b"X\xc3\xa9: a"),
    "space before a colon": with_lines(b"X : a"),
    # Host.
    "no Host": b"POST / HTTP/1.1\r\n" + LENGTH + b"\r\n" + BODY,
    "two Hosts": with_lines(b"Host: other"),
    "the same Host twice": with_lines(b"Host: r"),
    "Host with a space": START.replace(b"Host: r", b"Host: r s") + LENGTH + b"\r\n" + BODY,
    "Host with a list": START.replace(b"Host: r", b"Host: r, s") + LENGTH + b"\r\n" + BODY,
    "Host with a path": START.replace(b"Host: r", b"Host: r/s") + LENGTH + b"\r\n" + BODY,
    "Host with a user": START.replace(b"Host: r", b"Host: u@r") + LENGTH + b"\r\n" + BODY,
    "Host with quotes": START.replace(b"Host: r", b'Host: "r"') + LENGTH + b"\r\n" + BODY,
    "Host with a bad port": START.replace(b"Host: r", b"Host: r:8o") + LENGTH + b"\r\n" + BODY,
    # The request line.
    "nothing but line ends": b"\r\n\r\n\r\n",
    "no target": request_line(b"POST HTTP/1.1"),
    "lower-case method": request_line(b"post /v1/x HTTP/1.1"),
    "unknown method": request_line(b"PSOT /v1/x HTTP/1.1"),
    "method with a byte beyond ASCII": request_line(b"PO\xd3T /v1/x HTTP/1.1"),
    "space before the method": request_line(b" POST /v1/x HTTP/1.1"),
    "tabs in the request line": request_line(b"POST\t/v1/x\tHTTP/1.1"),
    "space behind the version": request_line(b"POST /v1/x HTTP/1.1 "),
    "lower-case version": request_line(b"POST /v1/x http/1.1"),
    "version of one digit": request_line(b"POST /v1/x HTTP/1"),
    "version of three digits": request_line(b"POST /v1/x HTTP/1.10"),
    "version with a leading zero": request_line(b"POST /v1/x HTTP/01.1"),
    "another protocol": request_line(b"POST /v1/x ICE/1.0"),
    "ICE": request_line(b"SOURCE /v1/x ICE/1.0"),
    "RTSP": request_line(b"DESCRIBE /v1/x RTSP/1.0"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "PROXY protocol": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + with_lines(),
    "CONNECT": request_line(b"CONNECT r:80 HTTP/1.1"),
    "CONNECT to a path": request_line(b"CONNECT /v1/x HTTP/1.1"),
    "asterisk": request_line(b"OPTIONS * HTTP/1.1"),
    "asterisk in POST": request_line(b"POST * HTTP/1.1"),
    "authority as target": request_line(b"POST r:80 HTTP/1.1"),
    "relative target": request_line(b"POST v1/x HTTP/1.1"),
    "query alone": request_line(b"POST ?model=a HTTP/1.1"),
    "target of another scheme": request_line(b"POST ftp://r/ HTTP/1.1"),
    "target without a host": request_line(b"POST http:///v1/x HTTP/1.1"),
    "user in the target": request_line(b"POST http://u@r/ HTTP/1.1"),
    "fragment": request_line(b"POST /a#b HTTP/1.1"),
    "space in the target": request_line(b"POST /a b HTTP/1.1"),
    "version in the target": request_line(b"POST /v1/x HTTP/1.1 HTTP/1.1"),
    "NUL in the target": request_line(b"POST /a\x00 HTTP/1.1"),
    "tab in the target": request_line(b"POST /a\tb HTTP/1.1"),
    "DEL in the target": request_line(b"POST /a\x7f HTTP/1.1"),
    "target beyond ASCII": request_line(b"POST /\xc3\xa9 HTTP/1.1"),
    "parent directory": request_line(b"POST /a/../b HTTP/1.1"),
    "parent directory at the end": request_line(b"POST /a/.. HTTP/1.1"),
    "parent directory in escapes": request_line(b"POST /a/%2e%2E/b HTTP/1.1"),
    "parent directory behind %2f": request_line(b"POST /a%2f..%2fb HTTP/1.1"),
    "parent directory behind a backslash": request_line(b"POST /a\\..\\b HTTP/1.1"),
    "parent directory with a parameter": request_line(b"POST /a/..;x/b HTTP/1.1"),
    # Chunks.
    "chunk size not hex": IN_CHUNKS + b"g\r\n",
    "chunk size with 0x": IN_CHUNKS + b"0x1\r\na\r\n0\r\n\r\n",
    "chunk size with a sign": IN_CHUNKS + b"+1\r\na\r\n0\r\n\r\n",
    "chunk size with an underscore": IN_CHUNKS + b"1_0\r\n",
    "chunk size with space before": IN_CHUNKS + b" 1\r\na\r\n0\r\n\r\n",
    "chunk size of more than 60 bits": IN_CHUNKS + b"1000000000000001\r\na\r\n0\r\n\r\n",
    "chunk size of more than 64 bits": IN_CHUNKS + b"10000000000000001\r\na\r\n0\r\n\r\n",
    "chunk size of many zeros": IN_CHUNKS + b"0" * 15 + b"1\r\na\r\n0\r\n\r\n",
    "negative chunk size": IN_CHUNKS + b"-1\r\na\r\n0\r\n\r\n",
    "two chunk sizes": IN_CHUNKS + b"1 1\r\na\r\n0\r\n\r\n",
    "no chunk size": IN_CHUNKS + b"\r\n",
    "extension without a chunk size": IN_CHUNKS + b";a\r\n",
    "NUL behind a chunk size": IN_CHUNKS + b"1\x00\r\na\r\n0\r\n\r\n",
    "bare LF after a chunk size": IN_CHUNKS + b"1\na\r\n0\r\n\r\n",
    "bare LF in a chunk extension": IN_CHUNKS + b"1;a\nb\r\na\r\n0\r\n\r\n",
    "bare CR in a chunk extension": IN_CHUNKS + b"1;a\rb\r\na\r\n0\r\n\r\n",
    "control character in a chunk extension": IN_CHUNKS + b"1;\x01\r\na\r\n0\r\n\r\n",
    "chunk longer than its size": IN_CHUNKS + b"1\r\nab\r\n0\r\n\r\n",
    "chunk shorter than its size": IN_CHUNKS + b"4\r\na\r\n0\r\n\r\n",
    "no line end after a chunk": IN_CHUNKS + b"1\r\na0\r\n\r\n",
    "bare LF after a chunk": IN_CHUNKS + b"1\r\na\n0\r\n\r\n",
    "bare LF at the end of the chunks": IN_CHUNKS + b"0\n\n",
    "bare LF after the last chunk": IN_CHUNKS + b"0\r\n\n",
    "endless chunk extension": IN_CHUNKS + b"1;" + b"x" * 5_000,
    "trailer without a colon": IN_CHUNKS + b"0\r\nX\r\n\r\n",
    "trailer with a space before its colon": IN_CHUNKS + b"0\r\nX : y\r\n\r\n",
    "folded trailer": IN_CHUNKS + b"0\r\nX: y\r\n z\r\n\r\n",
    "one option of a connection too many": with_lines(
        b"Connection: " + b",".join([b"x"] * 64), b"Connection: " + b",".join([b"x"] * 65)
    ),
    "length as a trailer": IN_CHUNKS + CHUNKS[:-2] + b"content-length: 9\r\n\r\n",
    "coding as a trailer": IN_CHUNKS + CHUNKS[:-2] + CHUNKED + b"\r\n",
    "Host as a trailer": IN_CHUNKS + CHUNKS[:-2] + b"Host: x\r\n\r\n",
    "endless trailers": IN_CHUNKS + b"0\r\n" + b"X: y\r\n" * 5_000,
}
_OTHERS = {
    413: {
        "length beyond the limit": of_length(b" %d" % (MAX_BODY_BYTES + 1)),
        "length of 18 digits": of_length(b" " + b"9" * 18),
        "chunks beyond the limit": IN_CHUNKS
        + b"%x\r\n" % (MAX_BODY_BYTES + 1)
        + b"x" * (MAX_BODY_BYTES + 1)
        + b"\r\n0\r\n\r\n",
    },
    417: {
        "unknown Expect": with_lines(b"Expect: gold"),
        "two Expects": with_lines(b"Expect: 100-continue", b"Expect: 100-continue"),
    },
    431: {
        "huge head": START + b"X: " + b"y" * 70_000,
        "huge head with an end": START + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
        "huge target": b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: r\r\n\r\n",
        "endless fields": START + b"X: y\r\n" * 12_000,
        "one field too many": with_lines(*[b"X-%d: y" % n for n in range(127)]),
    },
    505: {
        "no version": b"GET /health\r\n\r\n",
        "HTTP/0.9": request_line(b"POST /v1/x HTTP/0.9"),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    },
}
REFUSED: dict[str, tuple[int, bytes]] = {name: (400, raw) for name, raw in _BAD_REQUESTS.items()}
for _status, _cases in _OTHERS.items():
    REFUSED.update({name: (_status, raw) for name, raw in _cases.items()})
# Behind another request, what these begin with would be that one's end or nothing at all.
FIRST_ONLY = {name for name, (_, raw) in REFUSED.items() if raw[:1] in b"\r\n "}

ONE = Message("a", b"POST", b"/v1/x", BODY)
TWO = Message("b", b"POST", b"/v1/x", body_for(b"b"))
TO_B = START + b"Content-Length: %d\r\n\r\n" % len(TWO.body) + TWO.body
INNER = b"POST /inner HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\n\r\n"
HIDDEN = b'{"model":"a","x":"%b"}' % b"".join([b"\\u%04x" % byte for byte in INNER])
SHOWN = b'{"model":"a"}' + b" " * 9 + b"\r\n\r\n0\r\n\r\n"

FORWARDED: dict[str, tuple[bytes, tuple[Message, ...]]] = {
    "an empty line before the request": (b"\r\n" + with_lines(), (ONE,)),
    "white space around a value": (of_length(b"\t " + SIZE + b" \t"), (ONE,)),
    "no space before a value": (of_length(SIZE), (ONE,)),
    "names in any case": (START + LENGTH.upper() + b"\r\n" + BODY, (ONE,)),
    "a length of leading zeros": (of_length(b" 00" + SIZE), (ONE,)),
    "chunks": (IN_CHUNKS + CHUNKS, (ONE,)),
    "chunked in capitals": (of_coding(CHUNKED[:-2].upper()), (ONE,)),
    "chunked behind a tab": (of_coding(b"Transfer-Encoding:\t chunked"), (ONE,)),
    "chunks of one byte": (
        IN_CHUNKS + b"".join([b"1\r\n%c\r\n" % byte for byte in BODY]) + b"0\r\n\r\n",
        (ONE,),
    ),
    "chunk extensions": (
        IN_CHUNKS + b'%X ; a="b"\r\n%b\r\n00;c\r\n\r\n' % (len(BODY), BODY),
        (ONE,),
    ),
    "trailers": (IN_CHUNKS + CHUNKS[:-2] + b"X: y\r\nX-Host: z\r\n\r\n", (ONE,)),
    "an underscore in the coding's name": (with_lines(b"Transfer_Encoding: chunked"), (ONE,)),
    "an underscore in a second length's name": (with_lines(b"Content_Length: 3"), (ONE,)),
    "a coding in another field": (with_lines(b"X-Transfer-Encoding: chunked"), (ONE,)),
    "an absolute target": (request_line(b"POST http://other/v1/x HTTP/1.1"), (ONE,)),
    "an absolute target without a path": (
        request_line(b"POST HTTP://other HTTP/1.1"),
        (ONE._replace(target=b"/"),),
    ),
    "an absolute target with a query alone": (
        request_line(b"POST http://other?x=1 HTTP/1.1"),
        (ONE._replace(target=b"/?x=1"),),
    ),
    "a target that begins like an authority": (
        request_line(b"POST //b/v1/x HTTP/1.1"),
        (ONE._replace(target=b"/b/v1/x"),),
    ),
    "dots in names": (
        request_line(b"POST /v1/.a/b../c.d HTTP/1.1"),
        (ONE._replace(target=b"/v1/.a/b../c.d"),),
    ),
    "dots in a query": (
        request_line(b"POST /v1/x?p=/../ HTTP/1.1"),
        (ONE._replace(target=b"/v1/x?p=/../"),),
    ),
    "a large target": (
        request_line(b"POST /" + b"x" * 60_000 + b" HTTP/1.1"),
        (ONE._replace(target=b"/" + b"x" * 60_000),),
    ),
    "as many fields as may be": (with_lines(*[b"X-%d: y" % n for n in range(126)]), (ONE,)),
    "as many options of a connection as may be": (
        with_lines(
            b"Connection: " + b",".join([b"x-%d" % n for n in range(64)]),
            b"Connection: " + b",".join([b"x"] * 64),
        ),
        (ONE,),
    ),
    "bytes beyond ASCII in a value": (with_lines(b"X: \xff\xc3\xa9"), (ONE,)),
    "an empty Host": (START.replace(b"Host: r", b"Host:") + LENGTH + b"\r\n" + BODY, (ONE,)),
    "a Host with a port": (
        START.replace(b"Host: r", b"Host: [::1]:80") + LENGTH + b"\r\n" + BODY,
        (ONE,),
    ),
    "a body in GET": (
        request_line(b"GET /v1/x HTTP/1.1"),
        (ONE._replace(method=b"GET"),),
    ),
    "a body in DELETE": (
        request_line(b"DELETE /v1/x HTTP/1.1"),
        (ONE._replace(method=b"DELETE"),),
    ),
    "no body": (
        b"GET /v1/x?model=b HTTP/1.1\r\nHost: r\r\n\r\n",
        (Message("b", b"GET", b"/v1/x?model=b", b""),),
    ),
    "a length of 0": (
        b"GET /v1/x?model=b HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\n\r\n",
        (Message("b", b"GET", b"/v1/x?model=b", b""),),
    ),
    "an HTTP/2 upgrade": (
        with_lines(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM"),
        (ONE,),
    ),
    "an upgrade to anything": (with_lines(b"Connection: upgrade", b"Upgrade: x"), (ONE,)),
    "a request within a body": (
        START + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
        (ONE._replace(body=HIDDEN),),
    ),
    "an end of chunks within a body": (
        START + b"Content-Length: %d\r\n\r\n" % len(SHOWN[:26]) + SHOWN[:26],
        (ONE._replace(body=SHOWN[:26]),),
    ),
    "a pipeline across two models": (
        with_lines() + TO_B + IN_CHUNKS + CHUNKS + TO_B + with_lines(),
        (ONE, TWO, ONE, TWO, ONE),
    ),
}

ENDED: dict[str, tuple[bytes, tuple[Message, ...]]] = {
    "close": (START + CLOSE + LENGTH + b"\r\n" + BODY, (ONE,)),
    "close in a list": (with_lines(b"Connection: x, CLOSE"), (ONE,)),
    "close behind an answer": (with_lines() + TO_B + with_lines(CLOSE[:-2]), (ONE, TWO, ONE)),
    "HTTP/1.0": (request_line(b"POST /v1/x HTTP/1.0"), (ONE,)),
    "HTTP/1.0 that wants to go on": (
        request_line(b"POST /v1/x HTTP/1.0").replace(b"Host: r", b"Connection: keep-alive"),
        (ONE,),
    ),
}
