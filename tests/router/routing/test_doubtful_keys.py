"""Keys of a body that some readers may take for `model`."""

from __future__ import annotations

import pytest
from llmhop.errors import ApiError
from llmhop.routing.body_model import model_in

from tests.router.support.corpus.bodies import JSON, in_pieces

DOUBT = [
    *(
        rb"mod\el",
        rb"\model",
        rb"mode\l",
        rb"\u006dod\el",
        rb"mod\x65l",
        rb"mod\u{65}l",
        rb"model\u",
    ),
    *(b"mod\xffel", b"\xffmodel", b"model\x80", b"M\xe2\x82odel", b"mod\x00el", b"\x01model"),
    *(b"mo\ndel", rb"mod\ud800el", b"m\xff\\u006fdel", b"\xff" * 1_000 + b"model"),
]
CLEAR = [
    *("é", "mü", "\\u00e9", "möoodel", "ключ", "m" * 2_000, "x" + "é" * 2_000, "\\n"),
    *("moödel", "mod\udce9l", "\udcff", "m" + "\udcff" * 2_000 + "odel"),
    *("model-\\u00e9", "\\\\model", "m\\tx", "models", "", "模型" * 100),
]


@pytest.mark.parametrize("key", DOUBT)
def test_a_key_that_some_readers_may_take_for_the_model_is_refused(key: bytes) -> None:
    for rest in (b"", b',"x":"%b"' % (b"y" * 20_000), b',"x":[%b""]' % (b'"\\n",' * 4_000)):
        body = b'{"model":"m","%b":"m"%b}' % (key, rest)
        cut = body.index(key) + len(key) // 2
        for form in (body, in_pieces(body, [cut]), in_pieces(body, list(range(1_200)))):
            with pytest.raises(ApiError, match="a key is not a string"):
                model_in(JSON, form)
    assert model_in(JSON, b'{"model":"m","x":{"mod\xffel":"o"}}') == "m"


@pytest.mark.parametrize("key", CLEAR)
def test_other_keys_are_no_matter(key: str) -> None:
    text = f'{{"{key}":1,"model":"m","x":"{key}"}}'
    body = text.encode("utf-8", "surrogateescape")
    for form in (body, in_pieces(body, list(range(1_200)))):
        assert model_in(JSON, form) == "m"
