"""Forms: which `model` is read, what is refused, and that a backend's parser reads the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmhop.errors import ApiError, BadRequestError
from llmhop.http.body.multipart import MAX_MODEL_BYTES, MAX_PART_HEAD_BYTES, FormReader
from llmhop.http.fields.media_type import form_boundary, parse_value
from python_multipart.multipart import parse_options_header

from tests.router.support.corpus.form_bodies import ACCEPTED, REFUSED
from tests.router.support.corpus.form_reader import as_starlette, models_read
from tests.router.support.corpus.forms import BOUNDARY, FILE, MODEL, part


def read(pieces: list[bytes], new: bytes | None = None) -> tuple[list[str], bytes]:
    """The models that a form names and what goes on of it; raises what the reader does."""
    models: list[str] = []

    def on_model(model: str) -> bytes:
        models.append(model)
        return model.encode() if new is None else new

    reader = FormReader(BOUNDARY, on_model)
    out = b"".join([b"".join(reader.feed(piece)) for piece in pieces])
    if not reader.complete:
        raise BadRequestError("The form ends before its last boundary.")
    return models, out


def outcome(pieces: list[bytes], new: bytes | None = None) -> object:
    try:
        return read(pieces, new)
    except ApiError as error:
        return error.status, error.message


@pytest.mark.parametrize(
    ("start", "most"),
    [
        (b"--" + BOUNDARY + b"\r\n", MAX_PART_HEAD_BYTES + 3),
        (part(MODEL, b"")[:-2], MAX_MODEL_BYTES + len(BOUNDARY) + 3),
    ],
    ids=["a head", "a model"],
)
@pytest.mark.parametrize("size", [1, 7, 500])
def test_what_does_not_end_is_refused_as_soon_as_it_is_too_long(
    start: bytes, most: int, size: int
) -> None:
    reader = FormReader(BOUNDARY, lambda _: b"m")
    reader.feed(start)
    for _ in range(most // size):
        reader.feed(b"y" * size)
    with pytest.raises(BadRequestError, match=r"larger|longer"):
        reader.feed(b"y" * size)


@pytest.mark.parametrize("raw", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_model_is_found_and_the_form_goes_on_as_it_is(raw: bytes) -> None:
    assert read([raw]) == (["m"], raw)
    assert models_read(raw) == {
        "as_starlette": [b"m"],
        "as_flask": [b"m"],
        "as_django": [b"m"],
    }


@pytest.mark.parametrize("raw", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_another_name_takes_the_place_of_the_models_and_nothing_else_changes(raw: bytes) -> None:
    for new in (b"", b"much/longer"):
        _, out = read([raw], new)
        assert [p if p[0] != b"model" or p[1] else (*p[:2], new) for p in as_starlette(raw)] == (
            as_starlette(out)
        )


@pytest.mark.parametrize("name", [name for name in REFUSED if name.startswith("a boundary after")])
def test_readers_differ_about_where_a_boundary_may_stand(name: str) -> None:
    assert len({tuple(values) for values in models_read(REFUSED[name]).values()}) > 1


@pytest.mark.parametrize("head", [FILE, MODEL])
def test_a_boundary_in_the_wrong_place_is_refused_as_soon_as_it_is_there(head: bytes) -> None:
    *before, last = part(head, b"v\n--XbX").removesuffix(b"\r\n")
    reader = FormReader(BOUNDARY, lambda _: b"m")
    for byte in before:
        reader.feed(bytes([byte]))
    with pytest.raises(BadRequestError, match="no line begins by CRLF"):
        reader.feed(bytes([last]))


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_what_parsers_could_read_differently_is_refused(raw: bytes) -> None:
    with pytest.raises(ApiError):
        read([raw])


@pytest.mark.parametrize(
    "raw",
    [*ACCEPTED.values(), *REFUSED.values()],
    ids=[*ACCEPTED.keys(), *REFUSED.keys()],
)
def test_a_form_is_the_same_in_any_pieces(raw: bytes) -> None:
    whole = outcome([raw], b"new")
    if len(raw) < 5_000:
        assert outcome([bytes([byte]) for byte in raw], b"new") == whole
        for at in range(1, len(raw)):
            assert outcome([raw[:at], raw[at:]], b"new") == whole
    else:
        assert outcome([raw[at : at + 977] for at in range(0, len(raw), 977)], b"new") == whole


def test_what_is_no_boundary_goes_on_at_once() -> None:
    reader = FormReader(BOUNDARY, str.encode)
    assert b"".join(reader.feed(part(MODEL, b"m") + part(FILE, b"x" * 100)[:-10])).endswith(b"xxx")
    assert reader.feed(b"y" * 50_000) == [b"y" * 50_000]
    assert reader.feed(b"z\r\n--Xb") == [b"z"]
    assert b"".join(reader.feed(b"Y")) == b"\r\n--XbY"


FRAGMENTS = [
    *rb"""-- " \ ; : = * model name filename form-data ; name="model" --XbX""".split(),
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\n--XbX\r\n",
        b"\r--XbX\r\n",
        b" ",
        b"\x00",
        b"\xff",
        b"Content-Disposition",
        MODEL,
        FILE,
    ),
]


@settings(max_examples=500, deadline=None)
@given(
    base=st.sampled_from([*ACCEPTED.values()]),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from([b"", *FRAGMENTS])),
        max_size=4,
    ),
    cuts=st.lists(st.floats(0, 1), max_size=3),
)
def test_whatever_is_accepted_a_backend_reads_with_the_same_model(
    base: bytes, edits: list[tuple[float, int, bytes]], cuts: list[float]
) -> None:
    raw = base
    for place, removed, added in edits:
        at = int(place * len(raw))
        raw = raw[:at] + added + raw[at + removed :]
    places = sorted({0, len(raw), *[int(cut * len(raw)) for cut in cuts]})
    pieces = [raw[a:b] for a, b in pairwise(places)]
    result = outcome([raw])
    assert outcome(pieces) == result
    match result:
        case (list() as models, out):
            assert out == raw
            for reader, values in models_read(raw).items():
                assert [value.decode() for value in values] == models, reader


BOUNDARIES = {
    b"multipart/form-data; boundary=XbX": BOUNDARY,
    b'multipart/form-data; boundary="XbX"': BOUNDARY,
    b"Multipart/Form-Data;BOUNDARY=XbX": BOUNDARY,
    b"multipart/form-data; charset=UTF-8; boundary=XbX": BOUNDARY,
    b'multipart/form-data; boundary="a b,(c)?"': b"a b,(c)?",
    b"application/json": None,
    b'application/json; x="multipart/form-data"': None,
    b"multipart/mixed; boundary=XbX": None,
}

NO_BOUNDARIES = [
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b'multipart/form-data; boundary=""',
    b'multipart/form-data; boundary="x "',
    b"multipart/form-data; boundary=a; boundary=b",
    b"multipart/form-data; boundary=a b",
    b"multipart/form-data; boundary=" + b"x" * 71,
    b'multipart/form-data; boundary="a\\"b"',
    b"multipart/form-data; boundary*=UTF-8''a",
    b"multipart/form-data; boundary=a; charset=utf-16",
    b"multipart/form-data, multipart/form-data; boundary=a",
    b"multipart/form-data boundary=a",
    b'multipart/form-data; boundary="a',
    b"multipart/form-data; boundary=\xe4",
]


@pytest.mark.parametrize(("value", "boundary"), BOUNDARIES.items())
def test_the_boundary_stands_in_the_content_type(value: bytes, boundary: bytes | None) -> None:
    assert form_boundary([value]) == boundary


@pytest.mark.parametrize("value", NO_BOUNDARIES)
def test_a_form_without_a_clear_boundary_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequestError):
        form_boundary([value])


def test_two_content_types_of_which_one_is_a_form_are_refused() -> None:
    for values in ([b"application/json", b"multipart/form-data; boundary=a"],):
        for order in (values, values[::-1]):
            with pytest.raises(BadRequestError):
                form_boundary(order)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([b"form-data", *FRAGMENTS, b"a"]), max_size=12).map(b"".join))
def test_parameters_are_read_as_a_backend_reads_them(value: bytes) -> None:
    parsed = parse_value(value)
    if parsed is not None and b"*" not in value and b"\\" not in value:
        assert parse_options_header(value) == parsed
