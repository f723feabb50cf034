"""What is read of a body costs steps in proportion to its bytes, whatever the bytes are.

Each input is made for n and for 2 n, and its steps are counted (see step_counter), not timed.
"""

from __future__ import annotations

import pytest

from tests.router.support.steps import LOADED, Make, assert_in_proportion, distinct, pieces, steps

FORM = b"POST /v1/x HTTP/1.1\r\nHost: r\r\nContent-Type: multipart/form-data"

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
