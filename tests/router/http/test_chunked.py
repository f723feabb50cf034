"""The chunked coding: read in any pieces it is the same, and framing is bounded by data."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmhop.http.body.chunked import ChunkedReader, ChunkError

ALLOWED_BYTES = 16 * 1024
"""What size lines may take beyond eight bytes each and one for each byte of data."""


class Outcome(NamedTuple):
    """What became of a body: its payload, how much of it was read, and why no more."""

    payload: bytes
    taken: int
    error: str


def read(pieces: list[bytes], *, whole: bool = False) -> Outcome:
    """Read as a connection does; with `whole`, as one to a backend."""
    reader, payload, taken = ChunkedReader(), bytearray(), 0
    try:
        for piece in pieces:
            if whole and reader.take_whole(piece):
                taken += len(piece)
            else:
                taken += reader.feed(piece, payload)
    except ChunkError as error:
        return Outcome(b"", 0, str(error))
    return Outcome(bytes(payload), taken, "")


def read_some(raw: bytes, most: int) -> Outcome:
    """Read by calls that take a few chunks each."""
    reader, payload, taken = ChunkedReader(), bytearray(), 0
    try:
        while taken < len(raw) and not reader.done:
            taken += reader.feed(raw[taken:], payload, most)
    except ChunkError as error:
        return Outcome(b"", 0, str(error))
    return Outcome(bytes(payload), taken, "")


def chunk(size: int, extension: bytes = b"", zeros: int = 0) -> bytes:
    return b"%b%x%b\r\n%b\r\n" % (b"0" * zeros, size, extension, b"\r" * size)


CHUNK = st.builds(
    chunk,
    st.integers(1, 40),
    st.sampled_from([b"", b"", b" ", b";a", b";" + b"a" * 3_000, b";" + b"a" * 4_500]),
    st.integers(0, 3),
)
# The last ones are no chunks: sizes that lie, lines that end badly.
PARTS = st.one_of(CHUNK, st.sampled_from([b"1\r\nab\r\n", b"2\r\na\r\n", b"1\n", b"g\r\n", b"1"]))


@settings(deadline=None)
@given(st.lists(CHUNK | PARTS, max_size=30), st.booleans(), st.lists(st.integers(0, 9_000)))
def test_pieces_make_no_difference(chunks: list[bytes], ends: bool, cuts: list[int]) -> None:
    raw = b"".join(chunks) + (b"0\r\nX: y\r\n\r\nrest" if ends else b"")
    expected = read([raw])
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    cut = [raw[a:b] for a, b in pairwise(places)]
    for pieces in (cut, [raw[at : at + 1] for at in range(len(raw))]):
        assert read(pieces) == expected
    for most in (1, 2, 9):
        assert read_some(raw, most) == expected
    found = read(chunks, whole=True)
    assert (found.taken, found.error) == read(chunks)[1:]


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("extension", [b";" + b"a" * 99, b";" + b"a" * 10, b" " * 4_000])
def test_framing_is_bounded_by_data(extension: bytes, size: int) -> None:
    each = len(chunk(1, extension)) - 3 - 8 - 1  # but for its data and the line end after that
    most = ALLOWED_BYTES // each

    def outcome(chunks: list[bytes]) -> str:
        raw = b"".join(chunks)
        return read([raw[at : at + 1] for at in range(len(raw))] if size else [raw]).error

    many = [chunk(1, extension)] * most
    assert outcome(many) == ""
    assert outcome([*many, chunk(1, extension)]) == "it is more framing than data"
    # Data makes room for more: five bytes of each plain chunk, and one for each of a larger one.
    assert outcome([*many, chunk(each), chunk(1, extension)]) == ""
    assert outcome([*many, *[chunk(1)] * (each // 6 + 1), chunk(1, extension)]) == ""
    plain = chunk(1) * (each // 6 + 1)
    assert read([b"".join(many), plain + chunk(1, extension)]).error == ""
    assert outcome([*[chunk(1)] * 9_000, *many, chunk(1, extension)]) != "", "nothing is saved up"


def test_whole_chunks_of_a_backend_are_bounded_too() -> None:
    extended = chunk(1, b";" + b"a" * 99)
    assert read([extended] * 1_000, whole=True).error == "it is more framing than data"
    plain = [chunk(100)] * 50
    assert read([*plain, *[extended, *plain] * 500], whole=True).error == ""
