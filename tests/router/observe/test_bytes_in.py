"""How much of a request's body the access log tells where that did not come to its end."""

from __future__ import annotations

import json

import pytest

from tests.router.conftest import StartBackend
from tests.router.support.endpoints import Wire, chat, hold, post, wait_until
from tests.router.support.process import Process, Run

KEY = "Authorization: Bearer t"
LIMIT = 3_000_000


def begun(length: int, come: bytes, *headers: str) -> bytes:
    """A request that announces so much, of which so much has come."""
    return post(b"", "/v1/x", *headers).replace(b"Length: 0", b"Length: %d" % length) + come


def chunked(come: bytes, *headers: str) -> bytes:
    head = post(b"", "/v1/x", "Transfer-Encoding: chunked", *headers)
    return head.replace(b"Content-Length: 0\r\n", b"") + come


def chunks(size: int, count: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size) * count


FORM = "Content-Type: multipart/form-data; boundary=b"
FILE = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + b"x" * 500
MODEL = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nalias\r\n'
END = b"\r\n--b--\r\n"

CUT_OFF = {
    "begun": (begun(100, b"x" * 40, KEY), 40),
    "not begun": (begun(100, b"", KEY), 0),
    "large": (begun(1_000_000, b"x" * 300_000, KEY), 300_000),
    "large in one piece": (begun(100_000, b"x" * 70_000, KEY), 70_000),
    "chunks": (chunked(chunks(30, 2) + b"28\r\n" + b"x" * 20, KEY), 80),
    "large chunks": (chunked(chunks(50_000, 5) + b"28\r\n" + b"x" * 20, KEY), 250_020),
    "many chunks": (chunked(chunks(1, 50_000), KEY), 50_000),
    "form": (begun(9_000, FILE, KEY, FORM), len(FILE)),
    "form in chunks": (chunked(b"%x\r\n%b" % (len(FILE), FILE), KEY, FORM), len(FILE)),
    "form on its way": (begun(9_000, MODEL + FILE, KEY, FORM), len(MODEL + FILE)),
    "form on its way in chunks": (
        chunked(b"fff\r\n" + MODEL + FILE, KEY, FORM),
        len(MODEL + FILE),
    ),
}

BY_HEAD = {
    "too large": (begun(LIMIT + 1, b"x" * 40, KEY), 413, 40),
    "no token": (begun(100, b"x" * 40), 401, 40),
    "no token, and all of it": (post(b"x" * 100), 401, 100),
    "no token, and chunks": (chunked(chunks(30, 1)), 401, 0),
    "no head": (b"NO HTTP\r\n\r\n" + b"x" * 40, 400, 0),
}

BY_BODY = {
    "too large in chunks": (chunked(chunks(LIMIT, 1) + chunks(7, 1), KEY), 413, LIMIT + 7),
    "broken chunk": (chunked(chunks(30, 1) + b"x\r\n", KEY), 400, 30),
    "form that ends too soon": (post(FILE, "/v1/x", KEY, FORM), 400, len(FILE)),
    "form of no model": (post(FILE + END, "/v1/x", KEY, FORM), 400, len(FILE + END)),
    "unknown model": (post(chat("none"), "/v1/x", KEY), 404, len(chat("none"))),
}


@pytest.fixture
def process(run: Run, start_backend: StartBackend) -> Process:
    model = {"url": start_backend(hold).url, "aliases": ["alias"]}
    config = {"accessLog": "json", "authTokens": ["t"], "maxBodyBytes": LIMIT}
    return run({"models": {"m": model}, **config})


def told(process: Process, count: int) -> list[int]:
    """What the lines say, when so many are there."""
    wait_until(lambda: len(process.lines()) >= count)
    return [json.loads(line)["bytes_in"] for line in process.lines()]


@pytest.mark.parametrize(("raw", "come"), CUT_OFF.values(), ids=CUT_OFF.keys())
def test_what_came_of_a_body_is_counted_whose_client_left(
    raw: bytes, come: int, process: Process
) -> None:
    """After a request that was read to its end, and before one of another client."""
    for _ in range(2):
        with Wire(process.port) as wire:
            wire.send(begun(50, b"x" * 50, KEY))
            assert wire.response().status == 400
            wire.send(raw)
    with Wire(process.port) as wire:
        wire.send(post(b"", "/v1/x", KEY))
        assert wire.response().status == 400
    assert sorted(told(process, 5)) == sorted([50, come, 50, come, 0])


@pytest.mark.parametrize(("raw", "status", "come"), BY_HEAD.values(), ids=BY_HEAD.keys())
def test_what_came_of_a_body_is_counted_that_is_refused_by_its_head(
    raw: bytes, status: int, come: int, process: Process
) -> None:
    with Wire(process.port) as wire:
        wire.send(raw)
        assert wire.response().status == status
    assert told(process, 1) == [come]


@pytest.mark.parametrize(("raw", "status", "come"), BY_BODY.values(), ids=BY_BODY.keys())
def test_what_came_of_a_body_is_counted_that_is_refused_at_its_end(
    raw: bytes, status: int, come: int, process: Process
) -> None:
    with Wire(process.port) as wire:
        wire.send(raw[:-2])
        wire.send(raw[-2:])
        assert wire.response().status == status
    assert told(process, 1) == [come]


def test_no_more_is_counted_of_a_form_too_large_than_came(process: Process) -> None:
    form = FILE + b"x" * LIMIT
    with Wire(process.port) as wire:
        wire.send(chunked(b"%x\r\n%b\r\n" % (len(form), form), KEY, FORM))
        assert wire.response().status == 413
    [come] = told(process, 1)
    assert LIMIT < come <= len(form)


def test_what_is_refused_by_its_head_is_counted_after_a_chunked_one(process: Process) -> None:
    with Wire(process.port) as wire:
        wire.send(chunked(chunks(30, 2) + b"0\r\n\r\n", KEY))
        assert wire.response().status == 400
        wire.send(begun(LIMIT + 1, b"x" * 40, KEY))
        assert wire.response().status == 413
    assert told(process, 2) == [60, 40]
