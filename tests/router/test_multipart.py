"""Forms: which `model` is read, what is refused, and that a backend's parser reads the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmhop.errors import ApiError, BadRequestError
from llmhop.media_type import form_boundary, parse_value
from llmhop.multipart import MAX_MODEL_BYTES, MAX_PART_HEAD_BYTES, MAX_PARTS, FormReader
from python_multipart.multipart import MultipartParser, parse_options_header

B = b"XbX"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav'
MODEL = b'Content-Disposition: form-data; name="model"'
SOUND = b"RIFF\r\n--X\r\n\r\n--Xb\r\n-\r\r\n\x00\xff"


def part(head: bytes, value: bytes) -> bytes:
    return b"--" + B + b"\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: tuple[bytes, bytes], end: bytes = b"--" + B + b"--\r\n") -> bytes:
    return b"".join([part(*one) for one in parts]) + end


ACCEPTED = {
    "model first, as openai sends it": form((MODEL, b"m"), (FILE, SOUND)),
    "model last, as curl may send it": form((FILE, SOUND), (MODEL, b"m")),
    "no line end after the last boundary": form((MODEL, b"m"), end=b"--" + B + b"--"),
    "as aiohttp sends it": form(
        (b"Content-Type: text/plain; charset=utf-8\r\n" + MODEL, b"m"), (FILE, SOUND)
    ),
    "name without quotes": form((b"Content-Disposition: form-data; name=model", b"m")),
    "names in other cases": form((b'CONTENT-disposition: Form-Data; NAME="model"', b"m")),
    "spaces around": form((b'Content-Disposition:  form-data ;\tname="model" ', b"m")),
    "an encoding that is none": form((MODEL + b"\r\nContent-Transfer-Encoding: 8bit", b"m")),
    "a file of that name beside it": form((MODEL + b'; filename="m.txt"', b"other"), (MODEL, b"m")),
    "a field of nearly that name": form((MODEL[:-1] + b' "', b"x"), (MODEL, b"m")),
    "an escaped file name": form(
        (FILE.replace(b"a.wav", b"a%22; name=%22model.wav"), b""), (MODEL, b"m")
    ),
    "a path as file name": form((FILE.replace(b"a.wav", rb"C:\dir\a.wav"), b"x"), (MODEL, b"m")),
    "a file name in RFC 8187": form(
        (FILE.replace(b'filename="a.wav"', b"filename*=UTF-8''%e2%82%ac"), b"x"), (MODEL, b"m")
    ),
    "a part of one line end": form((FILE, b"\r\n"), (MODEL, b"m")),
    "an empty part": form((FILE, b""), (MODEL, b"m")),
}  # fmt: skip

REFUSED = {
    "nothing": b"",
    "text before": b"hello\r\n" + form((MODEL, b"m")),
    "a line end before": b"\r\n" + form((MODEL, b"m")),
    "text after": form((MODEL, b"m")) + b"x",
    "a form after": form((MODEL, b"m")) + form((MODEL, b"n")),
    "no end": form((MODEL, b"m"), end=b""),
    "half an end": form((MODEL, b"m"), end=b"--" + B + b"-"),
    "another boundary": form((MODEL, b"m")).replace(B, b"XcX"),
    "line ends of LF": form((MODEL, b"m")).replace(b"\r\n", b"\n"),
    "a LF in a head": form((MODEL + b"\nX: y", b"m")),
    "a CR in a head": form((MODEL + b"\rX: y", b"m")),
    "a NUL in a head": form((MODEL + b"\r\nX: \x00", b"m")),
    "space after a boundary": form((MODEL, b"m")).replace(b"XbX\r\n", b"XbX \r\n", 1),
    "a boundary that goes on": form((FILE, b"x\r\n--XbXY\r\n"), (MODEL, b"m")),
    "a head without a blank line": b"--XbX\r\n" + MODEL + b"\r\n--XbX--\r\n",
    "a head that ends in a boundary": b"--XbX\r\n" + FILE + b"\r\n\r\n--XbX--\r\n",
    "no head": b"--XbX\r\n\r\nm\r\n--XbX--\r\n",
    "no disposition": form((b"X: y", b"m")),
    "two dispositions": form((MODEL + b"\r\n" + FILE, b"m")),
    "no name": form((b"Content-Disposition: form-data", b"m")),
    "two names": form((b'Content-Disposition: form-data; name="x"; name="model"', b"m")),
    "an encoded name": form((b"Content-Disposition: form-data; name*=UTF-8''model", b"m")),
    "both names": form((MODEL + b"; name*=UTF-8''x", b"m")),
    "an escape in a name": form((rb'Content-Disposition: form-data; name="mo\del"', b"m")),
    "an escaped quote": form((FILE.replace(b"a.wav", rb"a\"; name=\"model"), b"m")),
    "not form-data": form((MODEL.replace(b"form-data", b"attachment"), b"m")),
    "a folded head": form((b'Content-Disposition: form-data;\r\n name="model"', b"m")),
    "space before a colon": form((b'Content-Disposition : form-data; name="model"', b"m")),
    "another charset": form((MODEL + b"\r\nContent-Type: text/plain; charset=utf-16", b"m")),
    "an encoding": form((MODEL + b"\r\nContent-Transfer-Encoding: base64", b"bQ==")),
    "not UTF-8": form((MODEL, b"\xff")),
    "a model too long": form((MODEL, b"m" * (MAX_MODEL_BYTES + 1))),
    "a head too long": form((MODEL + b"\r\nX: " + b"y" * MAX_PART_HEAD_BYTES, b"m")),
    "a model with an empty file name": form((MODEL + b'; filename=""', b"m")),
    "a model with a file name of white space": form((MODEL + b'; filename=" "', b"m")),
    "a model with an encoded file name": form((MODEL + b"; filename*=UTF-8''x", b"m")),
    "a model in capitals": form((MODEL.replace(b"model", b"Model"), b"m")),
    "two models": form((MODEL, b"m"), (MODEL, b"n")),
    "the same model twice": form((MODEL, b"m"), (FILE, b"x"), (MODEL, b"m")),
    "too many parts": form(*[(FILE, b"")] * (MAX_PARTS + 1)),
}  # fmt: skip


def read(pieces: list[bytes], new: bytes | None = None) -> tuple[list[str], bytes]:
    """The models that a form names and what goes on of it; raises what the reader does."""
    models: list[str] = []

    def on_model(model: str) -> bytes:
        models.append(model)
        return model.encode() if new is None else new

    reader = FormReader(B, on_model)
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
        (b"--" + B + b"\r\n", MAX_PART_HEAD_BYTES + 3),
        (part(MODEL, b"")[:-2], MAX_MODEL_BYTES + len(B) + 3),
    ],
    ids=["a head", "a model"],
)
@pytest.mark.parametrize("size", [1, 7, 500])
def test_what_does_not_end_is_refused_as_soon_as_it_is_too_long(
    start: bytes, most: int, size: int
) -> None:
    reader = FormReader(B, lambda _: b"m")
    reader.feed(start)
    for _ in range(most // size):
        reader.feed(b"y" * size)
    with pytest.raises(BadRequestError, match=r"larger|longer"):
        reader.feed(b"y" * size)


def as_starlette(raw: bytes, boundary: bytes = B) -> list[tuple[bytes, bool, bytes]]:
    """Name, whether it is a file, and value of each part, as vLLM's framework reads them."""
    parts: list[tuple[bytes, bool, bytes]] = []
    field, value, data = b"", b"", b""
    disposition = b""

    def header_field(chunk: bytes, start: int, end: int) -> None:
        nonlocal field
        field += chunk[start:end]

    def header_value(chunk: bytes, start: int, end: int) -> None:
        nonlocal value
        value += chunk[start:end]

    def header_end() -> None:
        nonlocal field, value, disposition
        if field.lower() == b"content-disposition":
            disposition = value
        field = value = b""

    def part_data(chunk: bytes, start: int, end: int) -> None:
        nonlocal data
        data += chunk[start:end]

    def part_end() -> None:
        nonlocal data, disposition
        _, options = parse_options_header(disposition)
        parts.append((options[b"name"], b"filename" in options, data))
        data = disposition = b""

    parser = MultipartParser(
        boundary,
        {
            "on_header_field": header_field,
            "on_header_value": header_value,
            "on_header_end": header_end,
            "on_part_data": part_data,
            "on_part_end": part_end,
        },
    )
    assert parser.write(raw) == len(raw)
    parser.finalize()
    return parts


def models_in(raw: bytes) -> list[str]:
    return [
        v.decode() for name, is_file, v in as_starlette(raw) if name == b"model" and not is_file
    ]


@pytest.mark.parametrize("raw", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_model_is_found_and_the_form_goes_on_as_it_is(raw: bytes) -> None:
    assert read([raw]) == (["m"], raw)
    assert models_in(raw) == ["m"]


@pytest.mark.parametrize("raw", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_another_name_takes_the_place_of_the_models_and_nothing_else_changes(raw: bytes) -> None:
    for new in (b"", b"much/longer"):
        _, out = read([raw], new)
        assert [p if p[0] != b"model" or p[1] else (*p[:2], new) for p in as_starlette(raw)] == (
            as_starlette(out)
        )


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
    reader = FormReader(B, str.encode)
    assert b"".join(reader.feed(part(MODEL, b"m") + part(FILE, b"x" * 100)[:-10])).endswith(b"xxx")
    assert reader.feed(b"y" * 50_000) == [b"y" * 50_000]
    assert reader.feed(b"z\r\n--Xb") == [b"z"]
    assert b"".join(reader.feed(b"Y")) == b"\r\n--XbY"


FRAGMENTS = [
    *rb"""-- " \ ; : = * model name filename form-data ; name="model" --XbX""".split(),
    *(b"\r\n", b"\n", b"\r", b" ", b"\x00", b"\xff", b"Content-Disposition", MODEL, FILE),
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
            assert models_in(raw) == models


BOUNDARIES = {
    b"multipart/form-data; boundary=XbX": B,
    b'multipart/form-data; boundary="XbX"': B,
    b"Multipart/Form-Data;BOUNDARY=XbX": B,
    b"multipart/form-data; charset=UTF-8; boundary=XbX": B,
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
