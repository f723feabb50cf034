"""What is read of a peer costs steps in proportion to its bytes, whatever the bytes are.

Each input is made for n and for 2 n, and its steps are counted (see step_counter), not timed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llmhop.errors import ApiError, BackendError
from llmhop.http.body.json_scanner import MAX_NAMES
from llmhop.limits import MAX_HEAD_BYTES

from tests.router.support.step_counter import StepCounter, count_in, load

COUNTER = StepCounter()
LOADED = load(COUNTER)
REFUSED = (ApiError, BackendError, LOADED["http.body.chunked"].ChunkError)

GET = b"GET /v1/x HTTP/1.1\r\nHost: r\r\n"
UPGRADE = GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n"
PROTOCOL = b"Sec-WebSocket-Protocol: "
KEY = b"openai-insecure-api-key."
FORM = b"POST /v1/x HTTP/1.1\r\nHost: r\r\nContent-Type: multipart/form-data"

Make = Callable[[int], bytes]


def distinct(n: int, text: bytes) -> bytes:
    return b"".join([text % i for i in range(n)])


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


def steps(work: Callable[[], Any]) -> int:
    COUNTER.steps = 0
    with contextlib.suppress(*REFUSED):
        work()
    return COUNTER.steps


def assert_in_proportion(cost: Callable[[int], int], n: int) -> None:
    once, twice = cost(n), cost(2 * n)
    assert twice <= 2.2 * once + 2_000, (once, twice)


def assert_costs_as_its_bytes(make: Make, read: Callable[[bytes], None]) -> None:
    """Compare a head with one of about half of its bytes, as large as may be."""
    n = next(n for n in (3_000, 1_000, 300, 100) if len(make(2 * n)) < MAX_HEAD_BYTES)
    once, twice = make(n), make(2 * n)
    more = len(twice) / len(once)
    assert steps(lambda: read(twice)) <= 1.1 * more * steps(lambda: read(once)) + 2_000


def pieces(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)] if size else [raw]


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
    reader.start(False, False)
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


CHUNKS = {
    "of one byte": b"1\r\na\r\n",
    "of many": b"40\r\n" + b"a" * 64 + b"\r\n",
    "with a zero": b"01\r\na\r\n",
    "with zeros": b"0001\r\na\r\n",
    "with more zeros": b"00000001\r\na\r\n",
    "with and without": b"1\r\na\r\n01\r\na\r\n",
    "with spaces": b"1 \t\r\na\r\n",
    "with short extensions": b"1;a\r\na\r\n",
    "with extensions": b"1;a=b\r\na\r\n",
    "with long extensions": b"1;" + b"a" * 100 + b"\r\na\r\n",
    "trailers": b"0\r\nX: y\r\n",
    "size lines that don't end": b"1" * 20,
    "an extension that does not end": b"1;aaaaa",
}


@pytest.mark.parametrize("size", [0, 1, 5, 1_000])
@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS.keys())
def test_chunks_cost_in_proportion_to_their_bytes(chunk: bytes, decode: bool, size: int) -> None:
    def read(n: int) -> None:
        reader, payload = (
            LOADED["http.body.chunked"].ChunkedReader(),
            bytearray() if decode else None,
        )
        first, rest = chunk[:3], chunk[3:]
        raw = first + rest * n if chunk.startswith((b"0\r\n", b"1;a")) and n else chunk * n
        for piece in pieces(raw, size):
            reader.feed(piece, payload)

    assert_in_proportion(lambda n: steps(lambda: read(n)), 500)


@pytest.mark.parametrize(
    "chunk",
    [b"01\r\na\r\n", b"0001\r\na\r\n", b"1 \r\na\r\n", b"1;a\r\na\r\n", b"1\r\na\r\n01\r\na\r\n"],
)
@pytest.mark.parametrize("decode", [False, True])
def test_an_odd_spelling_of_chunks_costs_as_the_usual_one(chunk: bytes, decode: bool) -> None:
    def each(chunk: bytes) -> float:
        raw, payload = chunk * 2_000, bytearray() if decode else None
        reader = LOADED["http.body.chunked"].ChunkedReader()
        return steps(lambda: reader.feed(raw, payload)) / len(raw)

    assert each(chunk) <= 1.5 * each(b"1\r\na\r\n")


PART = b'--b\r\nContent-Disposition: form-data; name="%b"'
FORMS: dict[str, Make] = {
    "a long head": lambda n: PART % b"x" + b"; y=" + b"z" * n,
    "a head of many fields": lambda n: PART % b"x" + distinct(n // 8, b"\r\nX%d: y"),
    "a head of line ends": lambda n: PART % b"x" + b"\r\n" * n,
    "a long name": lambda n: PART % (b"x" * n) + b"\r\n\r\n",
    "a long model": lambda n: PART % b"model" + b"\r\n\r\n" + b"m" * n,
    "a model of line ends": lambda n: PART % b"model" + b"\r\n\r\n" + b"\r\n--" * n,
    "a file": lambda n: PART % b"x" + b"\r\n\r\n" + b"y" * n,
    "a file of line ends": lambda n: PART % b"x" + b"\r\n\r\n" + b"\r\n" * n,
    "a file of half boundaries": lambda n: PART % b"x" + b"\r\n\r\n" + b"\r\n--\r" * n,
    "a file of dashes": lambda n: PART % b"x" + b"\r\n\r\n" + b"-" * n,
    "a file of nearly boundaries": lambda n: PART % b"x" + b"\r\n\r\n" + b"--a" * n,
    "parts": lambda n: (PART % b"x" + b"\r\n\r\ny\r\n") * (n // 8),
    "no boundary": lambda n: b"-" * n,
    "an end that goes on": lambda n: b"--b--\r\n" * n,
}


@pytest.mark.parametrize("size", [0, 1, 7, 1_000])
@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS.keys())
def test_a_form_costs_in_proportion_to_its_bytes(make: Make, size: int) -> None:
    def read(n: int) -> None:
        reader = LOADED["http.body.multipart"].FormReader(b"b", lambda _: b"m")
        for piece in pieces(make(n), size):
            reader.feed(piece)

    for n in (400, 3_500):  # the model may have 1 KB, a head 8 KB
        assert_in_proportion(lambda n: steps(lambda: read(n)), n)


MEMBERS = [
    b'"a":1,', b'"a":"b",', b'"x":[],', b'"":{},', b'"model":"m",', b'"x":"\\"\\"\\"",', b" ",
    b'"x":"' + b"\\\\" * 99 + b'",', b'"x":"' + b"y" * 70 + b'\\n",', b'"x":[{"model":"m"}],',
    b'"x":"' + (b"y" * 65 + b"\\n") * 20 + b'",', b'"x":"' + b"y" * 990 + b'",',
    b'"x":"' + (b"y" * 40 + b'\\"') * 20 + b'",', b'"x":"' + b"\\\\" * 99 + b'\\"",',
]  # fmt: skip
# Keys that nobody takes for `model`.
KEYS = [b'"\xff":1,', b'"\\u0061":1,', b'"\xff\xff\xff\xff\xff":1,', b'"\\modex":1,', b'"Modex":1,']
# Of which each is a beginning alone.
ENDLESS = [
    (b'{"x":', b"["),
    (b'{"x":"', b"y" * 65 + b"\\n"),
    (b'{"x":"', b'\\"'),
    (b'{"x":"', b"\\"),
]


@pytest.mark.parametrize("size", [0, 1, 1_000])
@pytest.mark.parametrize(("start", "unit"), [*[(b"{", member) for member in MEMBERS], *ENDLESS])
def test_a_json_body_costs_a_few_steps_a_byte(start: bytes, unit: bytes, size: int) -> None:
    def read(count: int) -> None:
        scanner = LOADED["http.body.json_scanner"].ModelScanner()
        for piece in pieces(start + unit * count, size):
            scanner.feed(piece)

    count = 3_000 // len(unit)
    assert_in_proportion(lambda n: steps(lambda: read(n)), count)
    assert steps(lambda: read(count)) < 40 * 3_000


@pytest.mark.parametrize("size", [0, 1_000])
@pytest.mark.parametrize("key", KEYS)
def test_an_odd_key_costs_little_more_than_another_of_its_length(key: bytes, size: int) -> None:
    def each(member: bytes) -> float:
        scanner = LOADED["http.body.json_scanner"].ModelScanner()
        body = b"{" + member * 1_000
        return steps(lambda: [scanner.feed(piece) for piece in pieces(body, size)]) / 1_000

    length = len(key) - len(b'"":1,')
    most = 1.4 if length >= len("model") else 1.05
    assert each(key) <= most * each(b'"%b":1,' % (b"a" * length))


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


def test_a_body_in_small_pieces_costs_in_proportion() -> None:
    start = b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n"

    def read(n: int) -> None:
        reader = LOADED["http.request_reader"].RequestReader()
        reader.feed(start % n)
        reader.start_body(reader.read_head(), 10**6)
        for _ in range(n):
            reader.feed(b"x")
            reader.read_body()

    assert_in_proportion(lambda n: steps(lambda: read(n)), 5_000)


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
