"""The readers of requests and responses: whatever pieces bytes come in, the outcome is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llmhop.errors import BackendError
from llmhop.http.body.chunked import ChunkedReader, ChunkError
from llmhop.http.response_reader import ResponseReader

from tests.fuzz.reading import read_requests, read_response
from tests.router.support.corpus.requests import ENDED, FORWARDED, REFUSED
from tests.router.support.corpus.responses import CHUNKED

NEXT = b"GET /next HTTP/1.1\r\nHost: r\r\n\r\n"
RAW = {name: case[0] for name, case in (FORWARDED | ENDED).items()}
RAW |= {name: raw for name, (_, raw) in REFUSED.items()}


def splits(raw: bytes) -> Iterator[list[bytes]]:
    """All in one, byte by byte, and in two pieces at each place that may matter."""
    yield [raw]
    if len(raw) < 5_000:
        yield [bytes([byte]) for byte in raw]
        for at in range(1, len(raw)):
            yield [raw[:at], raw[at:]]


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
def test_requests_are_the_same_in_any_pieces(raw: bytes) -> None:
    outcomes = [read_requests(pieces) for pieces in splits(raw + NEXT)]
    for outcome in outcomes[1:]:
        assert outcome == outcomes[0]
    assert outcomes[0].messages or outcomes[0].refusal


def test_a_limit_counts_what_chunks_hold() -> None:
    raw = b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 10
    ((_, body),) = read_requests([raw + b"0\r\n\r\n"], 10).messages
    assert body == b"a" * 10
    assert read_requests([raw], 9).refusal == (
        413,
        "The request body is larger than the limit of 9 bytes.",
    )


RESPONSES = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello", False),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
    "no content": (b"HTTP/1.1 204 No\r\n\r\n", b"", True),
    "chunks": (
        CHUNKED + b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n",
        b"hello",
        True,
    ),
    "interim": (b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x", True),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x", False),
    "extra bytes": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1", b"x", False),
    "extra bytes after chunks": (CHUNKED + b"1\r\nx\r\n0\r\n\r\n\r\n", b"x", False),
    "extra bytes after no content": (b"HTTP/1.1 204 No\r\n\r\nx", b"", False),
}


@pytest.mark.parametrize(("raw", "body", "reusable"), RESPONSES.values(), ids=RESPONSES.keys())
def test_responses_are_the_same_in_any_pieces(raw: bytes, body: bytes, reusable: bool) -> None:
    for pieces in splits(raw):
        found = read_response(pieces, decode=True)
        assert (found.body, found.error) == (body, "")
        # What comes in a later piece is not seen yet; it closes the idle connection.
        assert (found.reusable and not found.left) == reusable


def test_chunks_are_relayed_as_they_came_and_nothing_after_them() -> None:
    body = b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n"
    for pieces in splits(CHUNKED + body + b"extra"):
        assert read_response(pieces).body == body


@pytest.mark.parametrize("raw", [RESPONSES["length"][0], RESPONSES["chunks"][0]])
def test_a_response_that_ends_early_is_an_error_wherever_it_ends(raw: bytes) -> None:
    for end in range(len(raw)):
        assert read_response([raw[:end]], decode=True).error


def test_a_response_to_head_has_no_body() -> None:
    reader = ResponseReader()
    reader.start(head_only=True, decode=False, websocket=False)
    reader.feed_head(CHUNKED)
    assert reader.read_head() is not None
    assert reader.first_body() == b""
    assert (reader.complete, reader.reusable) == (True, True)


def test_the_end_of_chunks_is_found_to_the_byte() -> None:
    payload = bytearray()
    reader = ChunkedReader()
    body = b"a\r\n0123456789\r\n0\r\n\r\n"
    assert reader.feed(body + b"GET /", payload) == len(body)
    assert (reader.done, bytes(payload)) == (True, b"0123456789")
    assert reader.feed(b"GET /") == 0


def test_a_broken_chunk_is_found_before_what_follows_it() -> None:
    reader = ChunkedReader()
    reader.feed(b"1\r\na")
    with pytest.raises(ChunkError):
        reader.feed(b"b")


@pytest.mark.parametrize(("raw", "body", "reusable"), RESPONSES.values(), ids=RESPONSES.keys())
def test_a_response_read_whole_is_the_same_response(
    raw: bytes, body: bytes, reusable: bool
) -> None:
    for to_head_request in (False, True):
        reader = ResponseReader()
        reader.start(head_only=to_head_request, decode=True, websocket=False)
        whole = reader.read_whole(raw)
        if whole is not None:
            assert not to_head_request
            assert whole[1] == body
            assert (reader.complete, reader.reusable, reader.length) == (True, reusable, len(body))
        else:
            # Nothing was taken: read in the usual way, it is all there.
            assert not reader.complete
            if not to_head_request:
                assert read_response([raw], decode=True).body == body


def test_only_a_whole_response_of_known_length_is_read_whole() -> None:
    kinds = {}
    for kind, (raw, _, _) in RESPONSES.items():
        reader = ResponseReader()
        kinds[kind] = reader.read_whole(raw) is not None
    assert [kind for kind, whole in kinds.items() if whole] == ["length", "HTTP/1.0"]
    reader = ResponseReader()
    reader.feed_head(b"HTTP/1.1 200 OK\r\n")
    assert reader.read_whole(RESPONSES["length"][0]) is None, "there is something before it"


BAD = {"LF": b"\n", "CR": b"\r", "NUL": b"\0", "DEL": b"\x7f"}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_no_response_head_can_have_is_refused_before_its_end(bad: bytes) -> None:
    """Who sent it may wait for an answer, and send nothing more."""
    raw = b"HTTP/1.1 200 OK\r\nServer: x\r\nX: y"
    for at in range(len(b"HTTP/1.1"), len(raw) + 1):
        if raw[at - 1 : at] == b"\r":  # where it would end a line, or come after its end
            continue
        begun = raw[:at] + bad + (b"z" if bad == b"\r" else b"")
        for pieces in splits(begun):
            reader = ResponseReader()
            with pytest.raises(BackendError):
                for piece in pieces:
                    reader.feed_head(piece)
                    assert reader.read_head() is None
