"""Heads that differ in the values of their ids are read as each of them is without a memory."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings
from llmhop.errors import BadRequestError
from llmhop.http.fresh_fields import FreshFields
from llmhop.http.head import parse_request_head
from llmhop.http.head_cache import MAX_HEADS, HeadCache
from llmhop.http.parsed_head import RequestHead

from tests.router.support.corpus import requests as request_corpus

NAMES = (
    b"traceparent",
    b"Traceparent",
    b"tracestate",
    b"x-request-id",
    b"X-Request-Id",
    b"baggage",
)
LINES = (
    b"Authorization: Bearer k",
    b"Connection: close",
    b"Connection: traceparent, x-a",
    b"X-traceparent: 00-a",
    b"x_request_id: 00-a",
    b"traceparent : 00-a",
    b"Content-Length: 7",
    b"content-length: 7",
    b"Content-Length: 07",
    b"Content-Length: x",
    b"Transfer-Encoding: chunked",
    b"Content-Type: multipart/form-data; boundary=b",
    b"X-A: 1",
    b"Upgrade: websocket",
)
VALUES = (
    *(b"00-a", b"00-b", b"\x00", b"", b" ", b"00 a", b"00-a ", b"\t00-a", b"a\tb", b"\xff"),
    *(b"a\rb", b"a\nb", b"a\r\nX-B: 1", b"a\r\ntraceparent: b", b"9" * 128, b"9" * 129, b", ,"),
)


def outcome(read: object, raw: bytes) -> object:
    try:
        return read(raw)  # type: ignore[operator]
    except BadRequestError as error:
        return str(error), error.status


def head(*lines: bytes) -> bytes:
    return b"".join([line + b"\r\n" for line in (b"POST /v1/x HTTP/1.1", b"Host: r", *lines, b"")])


def with_id(value: bytes) -> bytes:
    return head(b"X-A: 1", b"traceparent: " + value, b"Content-Length: 7")


@st.composite
def heads(draw: st.DrawFn) -> list[bytes]:
    """Heads of the same lines, with other values in each."""
    names = draw(st.lists(st.sampled_from(NAMES + LINES), max_size=6))
    made = []
    for _ in range(3):
        values = [draw(st.sampled_from(VALUES)) for _ in names]
        made.append(
            head(*[n if n in LINES else n + b": " + v for n, v in zip(names, values, strict=True)])
        )
    return made


@settings(max_examples=500)
@given(heads())
def test_any_heads_one_after_another_are_read_as_if_they_were_alone(found: list[bytes]) -> None:
    cache = HeadCache(parse_request_head, FreshFields().read)
    for raw in found * 2:
        assert outcome(cache.read, raw) == outcome(parse_request_head, raw)


def test_a_head_that_differs_in_any_byte_is_read_on_its_own() -> None:
    cache = HeadCache(parse_request_head, FreshFields().read)
    raw = with_id(b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    cache.read(raw)
    for at in range(len(raw)):
        for byte in (b"", b"0", b"a", b"\r", b"\n", b" ", b":", b"-", b"\x00", b"\xff"):
            other = raw[:at] + byte + raw[at + 1 :]
            assert outcome(cache.read, other) == outcome(parse_request_head, other)
            assert outcome(cache.read, other) == outcome(parse_request_head, other)


def corpus() -> list[bytes]:
    raws = [raw for _, raw in request_corpus.REFUSED.values()]
    raws += [raw for raw, _ in request_corpus.FORWARDED.values()]
    raws += [raw for raw, _ in request_corpus.ENDED.values()]
    return [raw[: raw.find(b"\r\n\r\n") + 4] for raw in raws if b"\r\n\r\n" in raw]


def test_heads_of_the_corpus_are_read_with_ids_as_without_a_memory() -> None:
    cache = HeadCache(parse_request_head, FreshFields().read)
    for raw in corpus():
        line, end, rest = raw.partition(b"\r\n")
        for value in (b"00-a", b"00-b", b"00-c"):
            traced = line + end + b"traceparent: " + value + end + rest
            assert outcome(cache.read, traced) == outcome(parse_request_head, traced)
        assert outcome(cache.read, raw) == outcome(parse_request_head, raw)


def test_a_fresh_id_costs_no_parsing_and_pushes_nothing_out() -> None:
    fresh = FreshFields()
    cache = HeadCache(parse_request_head, fresh.read)
    known, _ = cache.read(head(b"Content-Length: 7"))
    for n in range(2_000):
        assert cache.read(with_id(b"00-%d" % n)) == parse_request_head(with_id(b"00-%d" % n))
    assert cache.read(head(b"Content-Length: 9")) == (known, 9)
    assert cache.read(head(b"Content-Length: 9"))[0] is known
    assert len(cache) == 1
    assert len(fresh) == 1


def test_templates_are_bounded() -> None:
    fresh = FreshFields()
    for n in range(MAX_HEADS + 5):
        fresh.read(head(b"X-%d: 1" % n, b"traceparent: 00-a"))
        assert len(fresh) <= MAX_HEADS
    assert fresh.read(head(b"X: " + b"x" * 2048, b"traceparent: 00-a")) is None


def test_an_id_that_another_field_repeats_stays_there() -> None:
    fresh = FreshFields()
    for value in (b"00-a", b"00-b"):
        raw = head(b"x-traceparent: 00-a", b"traceparent: " + value, b"y: traceparent: 00-a")
        read = fresh.read(raw)
        assert read == parse_request_head(raw)
        assert isinstance(read[0], RequestHead)
