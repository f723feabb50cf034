"""The model of a body: never another one than any of its readers finds, whatever its size."""

from __future__ import annotations

import json
from itertools import product
from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llmhop.errors import ApiError
from llmhop.http.body.json_scanner import MAX_DEPTH, MAX_NAMES, MAX_VALUE_BYTES
from llmhop.http.body.large_body import LARGE_BYTES, PIECE_BYTES, LargeBody, ScannedBody
from llmhop.http.body.urlencoded import MAX_FORM_BYTES
from llmhop.http.parsed_head import RequestHead
from llmhop.routing.body_model import model_if_any, model_in, read_model, rename

from tests.router.support.corpus.bodies import FORM, JSON, head_of, in_pieces
from tests.router.support.corpus.json_readers import as_python, models_read

KEYS = st.sampled_from(
    ["model", "Model", "MODEL", "mOdeL", "mod\\u0065l", "\\u004dodel", "\\u006D\\u006f\\u0064el",
     "mod\\el", "\udcffmodel", "mod\udce9l", "mo\udc80del", "mod\x01el", "é", "m\\u00e9",
     "a", "models", "mode", '\\"model', "\\\\", "\\u00e9", "model\\\\", ""]
)  # fmt: skip
TEXTS = st.sampled_from(
    ["m", "o", "\\u006d", "\\ud800", "\\ud83d\\ude00", '\\"model\\":\\"o\\"', "\\\\", "é", "}", ""]
)
# Long enough for the end to be searched for, with what may be taken for it on the way.
LONG_TEXTS = st.lists(
    st.sampled_from(
        ["y" * 31, "y" * 32, "y" * 70, "y", "\\n", "\\\\", '\\"', '\\",\\"model\\":\\"o']
    )
).map("".join)
STRINGS = (TEXTS | LONG_TEXTS).map(lambda text: f'"{text}"')
SCALARS = STRINGS | st.sampled_from(["null", "5", "-1.5e3", "true", "NaN", "-Infinity"])
GAPS = st.sampled_from(["", "", "", " ", "\r\n\t"])


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.builds('{0}"{1}"{2}:{3}{4}'.format, GAPS, KEYS, GAPS, GAPS, values)
    return st.lists(member, max_size=4).map(lambda members: "{" + ",".join(members) + "}")


VALUES = st.recursive(
    SCALARS,
    lambda inner: objects(inner) | st.lists(inner, max_size=3).map(lambda v: f"[{','.join(v)}]"),
    max_leaves=8,
)
BEFORE = st.sampled_from(["", "", " ", "\r\n", "\ufeff", " \ufeff"])
AFTER = st.sampled_from(["", "", "\n", " x", '{"model":"o"}', ',"model":"o"}', "}", "]", "\0"])
BODIES = st.builds("{}{}{}".format, BEFORE, objects(VALUES) | VALUES, AFTER).map(
    lambda text: text.encode("utf-8", "surrogateescape")
)


def outcome(body: bytes | ScannedBody, head: RequestHead = JSON) -> object:
    """The model that a body names and whether it does to all, or why it is refused."""
    try:
        named = read_model(head, body)
    except ApiError as error:
        return error.status, error.message
    return named


@settings(max_examples=1_000, deadline=None)
@given(BODIES, st.lists(st.integers(0, 500), max_size=6))
@example(b'{"model":5,"model":"o"}', [])
@example(b'{"model":"o"}' + b" " * 90 + b'{"model":"m"}', [])
def test_no_reader_finds_another_model(body: bytes, cuts: list[int]) -> None:
    try:
        model = model_if_any(JSON, body)
    except ApiError as error:
        assert error.status == 400
        return
    assert models_read(body) <= {model}
    pieces = in_pieces(body, cuts)
    assert model_if_any(JSON, pieces) == model
    assert outcome(pieces) == outcome(body)


SPELLINGS = ["".join(letters) for letters in product(*zip("model", "MODEL", strict=True))]


@pytest.mark.parametrize("key", [*SPELLINGS, "mod\\u0065l", "\\u004D\\u006f\\u0044\\u0065\\u004c"])
def test_a_key_in_any_spelling_that_names_another_model_is_noticed(key: str) -> None:
    for members in (
        '"model":"m","%s":"o"',
        '"%s":"o","model":"m"',
        '"x":1, "%s" : "o","model":"m"',
    ):
        for value in ('"o"', "null", "[]"):
            body = b"{%b}" % (members % key).replace('"o"', value).encode()
            with pytest.raises(ApiError, match=r"two models|must be a string"):
                model_in(JSON, body)


@settings(max_examples=1_000, deadline=None)
@given(BODIES)
def test_what_is_readable_beyond_doubt_is_relayed(body: bytes) -> None:
    try:
        read = json.loads(body, object_pairs_hook=list)
        model = as_python(body)
    except (ValueError, RecursionError):
        return
    if not body.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") or not isinstance(model, str):
        return
    named = [value for key, value in read if key.lower() == "model"]
    if any(value != model for value in named) or "\ud800" in model:
        return
    assert model_in(JSON, body) == model


@settings(max_examples=500, deadline=None)
@given(BODIES, st.lists(st.integers(0, 500), max_size=6))
def test_renaming_changes_the_model_and_nothing_else(body: bytes, cuts: list[int]) -> None:
    try:
        model = model_if_any(JSON, body)
        before = json.loads(body, object_pairs_hook=list)
    except (ApiError, ValueError):
        return
    renamed = rename(JSON, body, 'new "é"')
    pieces = rename(JSON, in_pieces(body, cuts), 'new "é"')
    assert bytes(pieces) == renamed
    assert len(pieces) == len(renamed)
    if model is None:
        assert renamed == body
        return
    after = json.loads(bytes(renamed), object_pairs_hook=list)
    changed = [[k, 'new "é"'] if k.lower() == "model" else [k, v] for k, v in before]
    assert repr([list(pair) for pair in after]) == repr(changed)


def test_no_text_of_a_few_tokens_is_read_in_two_ways() -> None:
    tokens = ("{", "}", "[", "]", ",", '"model":', '"Model":', '"m"', '"o"', '"\\"', " ", "5")
    relayed = 0
    for size in range(6):
        for middle in product(tokens, repeat=size):
            body = "".join(["{", *middle, "}"]).encode()
            try:
                model = model_if_any(JSON, body)
            except ApiError:
                continue
            relayed += 1
            assert models_read(body) <= {model}, body
            assert outcome(in_pieces(body, list(range(len(body))))) == outcome(body)
    assert relayed > 90


def sized(size: int, start: bytes, end: bytes, filler: bytes = b"x") -> bytes:
    missing = size - len(start) - len(end)
    return start + filler * (missing // len(filler)) + b"x" * (missing % len(filler)) + end


SIZES = [100, LARGE_BYTES, LARGE_BYTES + 1, PIECE_BYTES + 5, 4 * PIECE_BYTES + 300_000]
# Of any size, and wherever what is doubtful stands.
ONE_RULE: list[tuple[bytes, bytes, str]] = [
    (b'{"model":"m","x":"', b'"}', "m"),
    (b'{"x":"', b'","model":"m"}', "m"),
    (b'{"x":"', b'\\\\","model":"m"}', "m"),
    (b'{"x":NaN,"y":"\\ud83d', b'","model":"m"} \n', "m"),
    (b'\xef\xbb\xbf{"x":"', b'","mod\\u0065l":"\\u006d"}', "m"),
    (b'{"y":{"model":"o","z":"', b'"},"model":"m"}', "m"),
    (b'{"model":"m","x":"', b'","model":"m"}', "m"),
    (b'{"model":"m","x":"', b'","model":"o"}', "conflicting_models"),
    (b'{"model":"m","x":"', b'","MODEL":"o"}', "conflicting_models"),
    (b'{"model":5,"x":"', b'","model":"m"}', "must be a string"),
    (b'{"model":"m","x":"', b'","model":null}', "must be a string"),
    (b'{"x":"', b'"}', "needs a 'model'"),
    (b'{"x":"', b'","Model":"m"}', "by a key in other letters"),
    (b'{"x":"', b'"} {"model":"m"}', "follows its object"),
    (b'{"x":{"y":"', b'"],"model":"m"}', "brackets"),
    (b'{"model":"m","x":"', b'"', "ends within"),
    (b'{"model":"m","x":"', b'\\"}', "ends within"),
    (b'["', b'",{"model":"m"}]', "not a JSON object"),
    (b"\x1f\x8b", b'","model":"m"}', "not a JSON object"),
    (b'{"x":"', b'",\'model\':"m"}', "unexpected"),
    (b'{"x":"', b'"/*,*/,"model":"m"}', "unexpected"),
    (b'{"x":["', b'"/*,*/],"model":"m"}', "unexpected"),
    (b'{"x":"', b'","model":"\\ud800"}', "not a string that can be read"),
]


@pytest.mark.parametrize("filler", [b"x", b'\\"'], ids=["few quotes", "many quotes"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("start", "end", "expected"), ONE_RULE)
def test_one_rule_holds_for_every_size(
    start: bytes, end: bytes, expected: str, size: int, filler: bytes
) -> None:
    body = sized(size, start, end, filler)
    received = LargeBody(len(body))
    received.add(memoryview(body))
    for form in (body, received.take(), in_pieces(body, [7, 50_000, 70_000])):
        try:
            found = model_in(JSON, form)
        except ApiError as error:
            found = f"{error.code} {error.message}"
            assert expected != "m", found
            assert expected in found
        else:
            assert found == expected


@pytest.mark.parametrize(
    ("start", "middle", "end"),
    [
        (b'{"x":"', b'"model":', b'","model":"alias"}'),
        (b'{"model":"alias","x":[', b'{"model":"other"},', b"0]}"),
        (b'{"x":"\\ud83d', b" ", b'","mod\\u0065l":"ali\\u0061s", "model" : "alias"}\n'),
        (b'{"MODEL":"alias",', b'"k":1,', b'"model":"alias"}'),
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_an_alias_is_replaced_where_it_stands(
    start: bytes, middle: bytes, end: bytes, size: int
) -> None:
    if start.startswith(b'{"x":"') and b"model" in middle:
        middle = middle.replace(b'"', b'\\"')
    body = start + middle * (size // len(middle)) + end
    received = LargeBody(len(body))
    received.add(memoryview(body))
    taken = received.take()
    expected = body.replace(b'"alias"', b'"m"').replace(b'"ali\\u0061s"', b'"m"')
    renamed = rename(JSON, taken, "m")
    assert bytes(renamed) == bytes(rename(JSON, body, "m")) == expected
    assert len(renamed) == len(expected)
    if not isinstance(taken, ScannedBody):
        return
    assert isinstance(renamed, ScannedBody)
    held = {id(part.obj) for part in taken.parts if isinstance(part, memoryview)}
    for part in renamed.parts:  # nothing but the new value is copied
        assert part == b'"m"' or (isinstance(part, memoryview) and id(part.obj) in held)


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ('{"model":"o"}'.encode("utf-16"), "application/json", 400),
        ('{"model":"o"}'.encode("utf-16-le"), "application/json", 400),
        ('{"model":"o"}'.encode("utf-16-be"), "", 400),
        ('{"model":"o"}'.encode("utf-32"), "text/plain", 400),
        ('{"model":"o"}'.encode("utf-32-be"), "application/json", 400),
        ('{"model":"o"}'.encode("utf-16-be"), "audio/pcm", None),
        (b"\0\0\0\x18ftypmp42", "video/mp4", None),
        (b"\xff\xfeRIFF", "application/octet-stream", None),
        (b'{"model":"m"}', "audio/pcm", "m"),
        (b'{"model":"m"}', "application/x-www-form-urlencoded", "m"),
        (b"RIFF", "audio/wav", None),
        (b"[1]", "application/json", None),
        (b'"model"', "application/json", None),
        (b"", "application/json", None),
        (b" ", "application/json", None),
    ],
)
def test_what_is_no_json_object_names_no_model_or_is_refused(
    body: bytes, content_type: str, expected: object
) -> None:
    head = head_of(content_type)
    if expected == 400:
        with pytest.raises(ApiError, match="UTF-8"):
            model_if_any(head, body)
        return
    assert model_if_any(head, body) == expected
    if expected is None:
        with pytest.raises(ApiError, match=r"no model|not a JSON object"):
            model_in(head, body)


PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["model", "Model", "mod%65l", "%4Dodel", "a", "models", "xmodel", ""]),
        st.sampled_from(["=m", "=o", "=%6d", "=m+1", "=", "", "=m;x=1", "=a;model=o"]),
    ),
    max_size=4,
)


@settings(max_examples=500)
@given(PAIRS)
def test_a_form_has_the_model_that_every_reader_finds(pairs: list[tuple[str, str]]) -> None:
    body = "&".join([name + value for name, value in pairs]).encode()
    readings = []
    for separator in "&;":
        text = body.decode() if separator == "&" else body.decode().replace("&", ";")
        found = parse_qsl(text, keep_blank_values=True, separator=separator)
        readings.append({value for name, value in found if name.lower() == "model"})
    try:
        model = model_if_any(FORM, body)
    except ApiError as error:
        assert error.status == 400
        assert readings[0] != readings[1] or len(readings[0]) > 1 or ";" in body.decode()
        return
    assert readings == [set() if model is None else {model}] * 2
    renamed = bytes(rename(FORM, body, "a b&c"))
    if model:
        expected = [
            (name, "a b&c" if name.lower() == "model" else value)
            for name, value in parse_qsl(body.decode(), keep_blank_values=True)
        ]
        assert parse_qsl(renamed.decode(), keep_blank_values=True) == expected
    assert b"a+b" not in renamed or quote_plus("a b&c") not in renamed.decode()


@settings(max_examples=500)
@given(BODIES, PAIRS, st.sampled_from([FORM, head_of("text/x, Application/X-WWW-Form-urlencoded")]))
@example(b'{"a":1,"model":"m"}', [("model", "=o")], FORM)
@example(b'{"a":1}', [("Model", "=o")], FORM)
@example(b'{"a":1,"model":"m"}', [("model", "=m;x=1")], FORM)
def test_what_is_both_json_and_a_form_has_one_model(
    body: bytes, pairs: list[tuple[str, str]], head: RequestHead
) -> None:
    form = "&" + "&".join([name + value for name, value in pairs]) + "&"
    body = body.replace(b'"a"', b'"%b"' % form.encode())
    try:
        model = model_if_any(head, body)
    except ApiError as error:
        assert error.status == 400
        return
    fields = parse_qsl(body.decode("latin-1"), keep_blank_values=True)
    in_form = {value for name, value in fields if name.lower() == "model"}
    assert models_read(body) | in_form <= {model}


def test_a_form_too_large_to_be_read_at_once_is_refused() -> None:
    with pytest.raises(ApiError, match="x-www-form-urlencoded") as caught:
        model_if_any(FORM, b"a=" + b"x" * MAX_FORM_BYTES)
    assert caught.value.status == 413


def test_a_form_may_name_its_model_as_often_as_json() -> None:
    for body in (b"a=1&" + b"model=m&" * MAX_NAMES, b"model&" * MAX_NAMES):
        assert model_in(FORM, body) == ("m" if b"=m" in body else "")
        with pytest.raises(ApiError, match=f"more than {MAX_NAMES} times") as caught:
            model_in(FORM, body + b"model=m")
        assert (caught.value.status, caught.value.param) == (400, "model")


def test_what_is_far_from_usual_is_bounded() -> None:
    deep = b'{"model":"m","x":%b%b}'
    assert model_in(JSON, deep % (b"[" * MAX_DEPTH, b"]" * MAX_DEPTH)) == "m"
    assert model_in(JSON, deep % (b'{"x":' * 990, b"1" + b"}" * 990)) == "m"
    for body, reason in [
        (deep % (b"[" * (MAX_DEPTH + 1), b"]" * (MAX_DEPTH + 1)), "too deeply"),
        (b'{%b"x":1}' % (b'"model":"m",' * (MAX_NAMES + 1)), "100 times"),
        (b'{"model":"%b"}' % (b"m" * (MAX_VALUE_BYTES + 1)), "longer than"),
    ]:
        for form in (body, in_pieces(body, list(range(0, 30_000, 1_000)))):
            with pytest.raises(ApiError, match=reason):
                model_in(JSON, form)
