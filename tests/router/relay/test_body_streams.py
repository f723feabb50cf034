"""Forms as they go on: whatever pieces they come in, what the backend gets is one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmhop.errors import ApiError
from llmhop.http.body.chunked import ChunkedReader
from llmhop.http.request_reader import RequestReader
from llmhop.relay.body_stream import FormStream
from llmhop.routing.table import RoutingTable

from tests.router.support.corpus.form_bodies import ACCEPTED, REFUSED
from tests.router.support.corpus.form_requests import chunked, head
from tests.router.support.corpus.forms import FILE, MODEL, form
from tests.router.support.endpoints import check

MODELS = {"m": {"url": "http://h:1", "aliases": ["alias"]}, "o": {"url": "http://h:2"}}
TABLE = RoutingTable(check({"models": MODELS}), 0)
NEXT = b"GET /next HTTP/1.1\r\nHost: r\r\n\r\n"
BODIES = [
    *ACCEPTED.values(),
    *REFUSED.values(),
    form((MODEL, b"alias"), (FILE, b"x")),
    form((FILE, b"x"), (MODEL, b"alias")),
    form((FILE, b"x"), (MODEL, b"no")),
    form((FILE, b"x")),
    form((MODEL, b"o")),
]
TARGETS = ["/v1/x", "/v1/x?model=m", "/route/alias/v1/x", "/v1/x?model=no"]


def went_on(pieces: list[bytes]) -> object:
    """Model and body that a backend gets, and what is left; or why there is none."""
    reader = RequestReader()
    stream: FormStream | None = None
    length: int | None = None
    sent: bytes | None = None
    for piece in pieces:
        reader.feed(piece)
        try:
            if stream is None:
                request = reader.read_head()
                if request is None:
                    continue
                assert request.boundary is not None
                reader.start_body(request, 20_000)
                stream = FormStream(request, request.boundary, reader, TABLE)
            if stream.complete:
                continue
            more = stream.read()
        except ApiError as error:
            return error.status, error.message
        if sent is not None:
            sent += b"".join(more)
        elif stream.route is not None:
            length, first = stream.begin()
            sent = bytes(first)
    assert stream is not None
    assert sent is not None
    assert stream.route is not None
    assert stream.complete
    if length is None:
        body = bytearray()
        decoder = ChunkedReader()
        assert decoder.feed(sent, body) == len(sent)
        assert decoder.done
        sent = bytes(body)
    else:
        assert length == len(sent)
    return stream.route.model, sent, reader.pending


def framings(body: bytes, target: str) -> list[bytes]:
    """The same form with a length, and in chunks."""
    cut = len(body) // 3
    pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
    return [
        head(len(body), path=target) + body + NEXT,
        head(None, path=target) + chunked(*pieces) + b"0\r\nT: 1\r\n\r\n" + NEXT,
    ]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("body", [body for body in BODIES if body])
def test_length_or_chunks_make_no_difference_to_what_goes_on(body: bytes, target: str) -> None:
    outcomes = [went_on([raw]) for raw in framings(body, target)]
    if len(body) < 20_000:
        assert outcomes[0] == outcomes[1]
    for raw in framings(body, target):
        at = raw.index(b"\r\n\r\n") + 4
        assert went_on([raw[:at], raw[at:]]) == went_on([raw])


@settings(max_examples=500, deadline=None)
@given(
    body=st.sampled_from([body for body in BODIES if 0 < len(body) < 2_000]),
    target=st.sampled_from(TARGETS),
    in_chunks=st.booleans(),
    cuts=st.lists(st.floats(0, 1), max_size=8),
)
def test_a_form_goes_on_the_same_in_any_pieces(
    body: bytes, target: str, in_chunks: bool, cuts: list[float]
) -> None:
    raw = framings(body, target)[in_chunks]
    places = sorted({0, len(raw), *[int(cut * len(raw)) for cut in cuts]})
    assert went_on([raw[a:b] for a, b in pairwise(places)]) == went_on([raw])


def test_every_cut_of_a_form_with_an_alias_gives_the_same() -> None:
    for target in ("/v1/x", "/v1/x?model=m"):
        body = form((FILE, b"x\r\n--X"), (MODEL, b"alias"), (FILE, b"y"))
        expected = ("m", form((FILE, b"x\r\n--X"), (MODEL, b"m"), (FILE, b"y")), NEXT)
        for raw in framings(body, target):
            for at in range(len(raw) + 1):
                assert went_on([raw[:at], raw[at:]]) == expected
