"""What is read of a peer costs steps in proportion to its bytes, whatever the bytes are.

Each input is made for n and for 2 n, and its steps are counted (see step_counter), not timed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llmhop.http.body.json_scanner import MAX_NAMES
from llmhop.limits import MAX_HEAD_BYTES

from tests.router.support.step_counter import count_in
from tests.router.support.steps import (
    COUNTER,
    LOADED,
    Make,
    assert_in_proportion,
    distinct,
    pieces,
    steps,
)

GET = b"GET /v1/x HTTP/1.1\r\nHost: r\r\n"
UPGRADE = GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n"
PROTOCOL = b"Sec-WebSocket-Protocol: "
KEY = b"openai-insecure-api-key."
FORM = b"POST /v1/x HTTP/1.1\r\nHost: r\r\nContent-Type: multipart/form-data"

HEADS: dict[str, Make] = {
    "fields": lambda n: GET + distinct(n, b"X-%d: y\r\n"),
    "fields of one name": lambda n: GET + b"a:\r\n" * n,
    "fields of underscores": lambda n: GET + b"_:\r\n" * n,
    "a long value in each of a hundred": lambda n: GET + (b"X: %b\r\n" % (b"y" * n)) * 100,
    "underscores in each of a hundred": lambda n: GET + (b"%b: x\r\n" % (b"_" * n)) * 100,
    "options": lambda n: GET + b"Connection: " + distinct(n, b"x%d,") + b"\r\n",
    "one option, often": lambda n: GET + b"Connection: " + b"a," * n + b"\r\n",
    "empty options": lambda n: GET + b"Connection: " + b"," * n + b"\r\n",
    "Connection fields": lambda n: GET + distinct(n, b"Connection: x%d\r\n"),
    "options and Connection fields": lambda n: (
        GET + b"Connection: " + distinct(n, b"x%d,") + b"\r\n" + b"Connection: a\r\n" * (n // 2)
    ),
    "spaces in Connection": lambda n: GET + b"Connection: " + b" " * n + b"x\r\n",
    "protocols": lambda n: UPGRADE + PROTOCOL + distinct(n, b"p%d,") + KEY + b"x\r\n",
    "keys": lambda n: UPGRADE + PROTOCOL + distinct(n, KEY + b"%d,") + b"x\r\n",
    "keys and protocols": lambda n: (
        UPGRADE + PROTOCOL + distinct(n, KEY + b"%d,") + distinct(n, b"p%d,") + b"x\r\n"
    ),
    "protocols in each of a hundred": lambda n: (
        UPGRADE + (PROTOCOL + KEY + b"x," + b"p," * n + b"\r\n") * 100
    ),
    "Upgrades": lambda n: GET + b"Connection: upgrade\r\n" + b"Upgrade: websocket\r\n" * n,
    "proxies": lambda n: GET + b"Via: " + distinct(n, b"1.1 llmhop-%d, ") + b"\r\n",
    "parameters": lambda n: FORM + distinct(n, b";a%d=b") + b";boundary=x\r\n",
    "one parameter, often": lambda n: FORM + b";a=b" * n + b"\r\n",
    "spaces between parameters": lambda n: FORM + b" " * n + b";a=b" + b" " * n + b"x\r\n",
    "tabs in each parameter": lambda n: FORM + distinct(n, b"\t; \ta%d=b") + b"!\r\n",
    "backslashes": lambda n: FORM + b';boundary="' + b"\\a" * n + b"\r\n",
    "a quote that does not end": lambda n: FORM + b';boundary="' + b"a" * n + b"\r\n",
    "quotes": lambda n: FORM + distinct(n, b';a%d="x\\y"') + b'"\r\n',
    "a long boundary": lambda n: FORM + b";boundary=" + b"a" * n + b"\r\n",
    "forms": lambda n: FORM + b"\r\nContent-Type: multipart/form-data" * n + b"\r\n",
    "dots": lambda n: b"GET /" + b"." * n + b" HTTP/1.1\r\nHost: r\r\n",
    "slashes": lambda n: b"GET /" + b"/.x" * n + b" HTTP/1.1\r\nHost: r\r\n",
    "escaped dots": lambda n: b"GET /" + b"%2e%2f%5c" * n + b"x HTTP/1.1\r\nHost: r\r\n",
    "a query": lambda n: b"GET /?" + b"model=a&" * n + b" HTTP/1.1\r\nHost: r\r\n",
    "an absolute target": lambda n: b"GET http://" + b"a" * n + b"@ HTTP/1.1\r\nHost: r\r\n",
    "a long host": lambda n: b"GET / HTTP/1.1\r\nHost: " + b"a" * n + b"/\r\n",
    "a host of colons": lambda n: b"GET / HTTP/1.1\r\nHost: " + b":" * n + b"\r\n",
    "a host of brackets": lambda n: b"GET / HTTP/1.1\r\nHost: " + b"[" * n + b"\r\n",
    "hosts": lambda n: GET + b"Host: r\r\n" * n,
    "a long id": lambda n: GET + b"X-Request-Id: " + b"a " * n + b"\r\n",
    "ids": lambda n: GET + b"X-Request-Id: a\r\n" * n,
    "digits": lambda n: GET + b"Content-Length: " + b"1" * n + b"\r\n",
    "a long token": lambda n: GET + b"Authorization: Bearer " + b"a " * n + b"\r\n",
    "tokens": lambda n: GET + b"Authorization: Bearer a\r\n" * n,
    "expectations": lambda n: GET + b"Expect: 100-continue\r\n" * n,
    "empty lines before": lambda n: b"\r\n" * n + GET,
    "folded lines": lambda n: GET + b"X: y\r\n" + b" z\r\n" * n,
    "bare line feeds": lambda n: GET + b"X: y\n" * n,
    "carriage returns": lambda n: GET + b"X: " + b"\r" * n + b"\r\n",
    "a long method": lambda n: b"G" * n + GET,
    "no end": lambda n: GET + b"X: " + b"\r\n\r" * n,
}


def assert_costs_as_its_bytes(make: Make, read: Callable[[bytes], None]) -> None:
    """Compare a head with one of about half of its bytes, as large as may be."""
    n = next(n for n in (3_000, 1_000, 300, 100) if len(make(2 * n)) < MAX_HEAD_BYTES)
    once, twice = make(n), make(2 * n)
    more = len(twice) / len(once)
    assert steps(lambda: read(twice)) <= 1.1 * more * steps(lambda: read(once)) + 2_000


def read_request(raw: bytes, size: int) -> None:
    reader = LOADED["http.request_reader"].RequestReader()
    for piece in pieces(raw, size):
        if not reader.pending:
            reader.read_whole(piece, 10**6)
        reader.feed(piece)
        while (head := reader.read_head()) is not None:
            reader.start_body(head, 10**6)
            if reader.read_body() is None:
                return


def read_response(raw: bytes, size: int) -> None:
    reader = LOADED["http.response_reader"].ResponseReader()
    reader.start(head_only=False, decode=False, websocket=False)
    for piece in pieces(raw, size):
        reader.read_whole(piece)
        reader.feed_head(piece)
        while (head := reader.read_head()) is not None:
            if head.status >= 200:
                return


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS.keys())
def test_a_request_head_costs_in_proportion_to_its_bytes(make: Make, size: int) -> None:
    assert_costs_as_its_bytes(lambda n: make(n) + b"\r\n", lambda raw: read_request(raw, size))


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS.keys())
def test_a_response_head_costs_in_proportion_to_its_bytes(make: Make, size: int) -> None:
    def response(n: int) -> bytes:
        start, _, rest = make(n).partition(b" HTTP/1.1\r\n")
        return b"HTTP/1.1 200 " + start[4:] + b"\r\n" + rest + b"\r\n"

    assert_costs_as_its_bytes(response, lambda raw: read_response(raw, size))


PARTS = st.lists(
    st.sampled_from(
        [
            *(
                b"Connection: ",
                b"Connection",
                b"Upgrade: websocket",
                PROTOCOL,
                KEY,
                b"Via: ",
                b"X_",
            ),
            *(b"Content-Type: multipart/form-data", b"X-Forwarded-", b"Host: ", b"model=", b"/."),
            *(
                b"\r\n",
                b"\r",
                b"\n",
                b": ",
                b",",
                b";",
                b"=",
                b'"',
                b"\\",
                b" ",
                b"\t",
                b"%",
                b"%2e",
            ),
            *(b"a", b"b", b"1", b"_", b"-", b"/", b"&", b"?", b"@", b"[", b"]", b"\xff", b"\x00"),
        ]
    ),
    min_size=1,
    max_size=6,
).map(b"".join)


@example(b"/?", b"model=a&", b" HTTP/1.1", b"GET ", 0)
@example(b"/?", b"model=a&", b" HTTP/1.1", b"GET ", 1)
@settings(max_examples=100, deadline=None)
@given(PARTS, PARTS, PARTS, st.sampled_from([b"", GET, UPGRADE, FORM, b"GET "]), st.integers(0, 1))
def test_whatever_a_head_repeats_costs_in_proportion(
    before: bytes, part: bytes, after: bytes, start: bytes, size: int
) -> None:
    def raw(n: int) -> bytes:
        return start + before + part * n + after + b"\r\n\r\n"

    n = 10_000 // len(part)
    assert_in_proportion(lambda n: steps(lambda: read_request(raw(n), size)), n)


@example(b"model=a&", b"")
@example(b"model&", b"")
@example(b"model=a;", b"")
@example(b"a=%6d&", b"model=a")
@settings(max_examples=100, deadline=None)
@given(PARTS, PARTS)
def test_whatever_a_query_repeats_costs_in_proportion(part: bytes, after: bytes) -> None:
    naming = LOADED["routing.target"]

    def read(n: int) -> None:
        naming.read_target(b"/?" + part * n + after).named_in_query("m")

    assert_in_proportion(lambda n: steps(lambda: read(n)), 1_000)


@pytest.mark.parametrize("filler", [b"", b"a" * 600, b"a=b&" * 150])
@pytest.mark.parametrize("name", [b"a", b"a" * 500])
def test_a_query_that_names_its_model_often_costs_a_few_steps_a_byte(
    filler: bytes, name: bytes
) -> None:
    query = b"/?" + (b"model=" + name + b"&" + filler + b"&") * MAX_NAMES
    model = "m" * 200

    def read() -> None:
        target = LOADED["routing.target"].read_target(query).named_in_query(model)
        assert target.count(model.encode()) == MAX_NAMES

    assert steps(read) < 20 * (len(query) + MAX_NAMES * len(model))


@pytest.mark.parametrize("size", [0, 7, 1_000])
@pytest.mark.parametrize(
    "request_",
    [
        GET + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    ],
)
def test_a_pipeline_costs_in_proportion_to_its_requests(request_: bytes, size: int) -> None:
    assert_in_proportion(lambda n: steps(lambda: read_request(request_ * n, size)), 500)


# That the counter sees what it is for.

GROWING_FASTER = {
    "a set that is copied": "def f(n):\n s = frozenset()\n for i in range(n): s = s.union([i])",
    "bytes that are copied": "def f(n):\n b = b''\n for i in range(n): b += b'x'",
    "bytes added": "def f(n):\n b = b''\n for i in range(n): b = b + b'x'",
    "a list that is searched": "def f(n):\n s = []\n for i in range(n):\n  i in s\n  s.append(i)",
    "bytes that are scanned": "def f(n):\n b = b'x' * n\n for i in range(n): b.find(b'y')",
    "a rest that is copied": "def f(n):\n b = b'x' * n\n while b: b = b[1:]",
    "a text that is split": "def f(n):\n for i in range(n): (b',' * n).split(b',')",
    "two loops": "def f(n):\n for i in range(n): [x for x in range(n)]",
}


@pytest.mark.parametrize("source", GROWING_FASTER.values(), ids=GROWING_FASTER.keys())
def test_what_grows_faster_than_its_input_is_noticed(source: str) -> None:
    module = count_in(source, "grows_faster", COUNTER)
    with pytest.raises(AssertionError):
        assert_in_proportion(lambda n: steps(lambda: module.f(n)), 500)
