"""The model of a body, read from its end: never another one than the whole of it tells."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmhop.body_model import model_at_end, model_in
from llmhop.errors import ApiError
from llmhop.large_body import LARGE_BYTES

NAMES = st.sampled_from(["model", "a", '"model"', "mod\\u0065l", '\\"model":"x"', "\\", '"', ","])
VALUES = st.recursive(
    NAMES | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def agrees(text: bytes) -> bool:
    """See that the end of a JSON text tells what all of it does; whether it tells anything."""
    found = model_at_end(text)
    if found is None:
        return False
    whole = json.loads(text)
    assert isinstance(whole, dict)
    assert found == whole["model"]
    return True


@given(VALUES, st.sampled_from([None, 1]), st.booleans(), st.sampled_from(["", " ", "\r\n"]))
def test_what_the_end_tells_is_what_the_whole_tells(
    value: Any, indent: int | None, ascii_: bool, after: str
) -> None:
    compact = json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_)
    for text in (json.dumps(value, indent=indent, ensure_ascii=ascii_), compact):
        agrees((text + after).encode())


@given(st.dictionaries(NAMES, VALUES, max_size=4), NAMES.filter(lambda name: name != "model"))
def test_a_model_that_comes_last_is_told_by_the_end(members: dict[str, Any], model: str) -> None:
    members.pop("model", None)
    assert agrees(json.dumps({**members, "model": model}).encode())


def test_no_text_of_a_few_tokens_is_read_in_two_ways() -> None:
    tokens = ("{", "}", "[", "]", ",", '"model":', '"m"', '"\\"', '\\"",')
    told = texts = 0
    for middle in product(tokens, repeat=6):
        text = "".join(["{", *middle, '"model":"m"}'])
        try:
            json.loads(text)
        except ValueError:
            continue
        texts += 1
        told += agrees(text.encode())
    assert told == texts > 100


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ('{"model":"a"}', "a"),
        ('{"model":"a","model":"b"}', "b"),
        ('{"model":"a","mod\\u0065l":"b"}', "b"),
        ('{"x":{"model":"a"}}', None),
        ('[{"model":"a"}]', None),
        ('{"x":"\\"model\\":\\"a\\"}"}', None),
        ('{"x":"y","model":1}', None),
        ('{"model":"a","x":{"model":"b"}}', None),
        ('{"x":" \\"model":"a"}', None),
        ('"model":"a"}', None),
        ('{"model":"a"} x', None),
        ("", None),
    ],
)
def test_an_end_tells_or_not(text: str, model: str | None) -> None:
    assert model_at_end(text.encode()) == model


def large(start: bytes, end: bytes) -> bytes:
    return start + b"x" * LARGE_BYTES + end


def test_a_large_body_is_read_from_its_end_and_otherwise_as_a_whole() -> None:
    assert model_in(large(b'{"x":"', b'","model":"m","stream":true}')) == "m"
    assert model_in(large(b'{"model":"m","x":"', b'"}')) == "m"
    assert model_in(large(b'{"model":"a","x":"', b'","model":"b"}')) == "b"


def test_a_large_body_whose_end_tells_nothing_must_be_json() -> None:
    with pytest.raises(ApiError, match="not JSON"):
        model_in(large(b'{"model":"m","x":"', b'"'))
    with pytest.raises(ApiError, match="needs a 'model'"):
        model_in(large(b'{"x":"', b'","model":1}'))


def test_whether_a_large_body_is_json_is_left_to_the_backend_where_its_end_tells() -> None:
    assert model_in(large(b'{"x":NaN,"y":"', b'","model":"m"}')) == "m"
