"""Forms through a running router: where they go, and that they are not held back."""

from __future__ import annotations

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.form_bodies import ACCEPTED, REFUSED
from tests.router.support.corpus.form_requests import (
    BEGUN,
    END,
    FORM,
    PATH,
    chunked,
    error_of,
    head,
    until_read,
)
from tests.router.support.corpus.forms import FILE, MODEL, SOUND, form, part
from tests.router.support.endpoints import Wire, chat, post
from tests.router.support.peer import Peer


@pytest.mark.parametrize("raw", ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.parametrize("path", [PATH, "/v1/images/edits", "/anything"])
def test_the_field_picks_the_backend_whatever_the_path(
    start_backend: StartBackend, start_router: StartRouter, raw: bytes, path: str
) -> None:
    backend, other = start_backend(), start_backend()
    router = start_router({"o": other, "m": backend})
    with Wire(router.port) as wire:
        for _ in range(2):
            wire.send(post(raw, path, FORM))
            assert wire.response().body == raw
        wire.send(post(chat("o")))
        assert wire.response().body == chat("o")
    assert [request.body for request in backend.requests] == [raw, raw]
    assert backend.requests[0].line == f"POST {path} HTTP/1.1"
    assert backend.requests[0].values("content-type") == ["multipart/form-data; boundary=XbX"]
    assert backend.connections == 1


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_a_form_that_may_be_read_in_two_ways_reaches_no_backend(
    start_backend: StartBackend, start_router: StartRouter, raw: bytes
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(raw, PATH, FORM))
        assert wire.response().status in (400, 413, 431)
    assert backend.requests == []


def test_a_form_goes_on_from_its_model_on_before_its_end_came(start_router: StartRouter) -> None:
    body = form((MODEL, b"m"), (FILE, SOUND * 100))
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        sent = len(BEGUN) + 3
        wire.send(head(len(body)) + body[:sent])
        link = peer.accept()
        assert b"\r\nContent-Length: %d\r\n" % len(body) in link.head()
        assert link.read(sent) == body[:sent]
        wire.send(body[sent:])
        assert link.read(len(body) - sent) == body[sent:]
        link.answer(b'{"text":"one"}')
        assert wire.response().body == b'{"text":"one"}'
        wire.send(head(len(body)) + body[:sent])  # both connections go on
        assert b"\r\nContent-Length: %d\r\n" % len(body) in link.head()
        wire.send(body[sent:])
        assert link.read(len(body)) == body
        link.answer(b'{"text":"two"}')
        assert wire.response().body == b'{"text":"two"}'


def test_a_chunked_form_goes_on_in_chunks_without_its_trailers(start_router: StartRouter) -> None:
    first, rest = BEGUN, SOUND + b"\r\n" + END
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(head(None) + chunked(first + SOUND[:4]))
        link = peer.accept()
        request = link.head()
        assert b"\r\nTransfer-Encoding: chunked\r\n" in request
        assert b"Content-Length" not in request
        assert link.chunk() == first + SOUND[:4]
        wire.send(chunked(rest[4:]) + b"0\r\nX-Trailer: 1\r\n\r\n")
        assert link.chunked_body() == rest[4:]
        link.answer(b"1")
        assert wire.response().body == b"1"
        wire.send(head(None) + chunked(first, rest) + b"0\r\nX-Trailer: 1\r\n\r\n")
        assert b"\r\nContent-Length: %d\r\n" % len(first + rest) in link.head()
        assert link.read(len(first + rest)) == first + rest
        link.answer(b"2")
        assert wire.response().body == b"2"


def test_a_form_with_its_model_at_the_end_is_kept_until_then(start_router: StartRouter) -> None:
    body = form((FILE, SOUND * 20_000), (MODEL, b"m"))
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(head(len(body)) + body[:400_000])
        assert peer.nobody_came()
        wire.send(body[400_000:])
        link = peer.accept()
        assert b"\r\nContent-Length: %d\r\n" % len(body) in link.head()
        assert link.read(len(body)) == body
        link.answer(b"1")
        assert wire.response().body == b"1"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("known_length", [True, False])
def test_an_alias_in_a_form_becomes_the_models_name(
    start_router: StartRouter, whole: bool, known_length: bool
) -> None:
    first, rest = BEGUN.replace(b"\r\nm\r\n", b"\r\nwhisper-1\r\n"), SOUND + b"\r\n" + END
    expected = BEGUN.replace(b"\r\nm\r\n", b"\r\norg/w\r\n") + rest
    with Peer() as peer:
        models = {"org/w": {"url": peer.url, "aliases": ["whisper-1", "w"]}}
        router = start_router({}, models=models)
        with Wire(router.port) as wire:
            opening = head(len(first + rest) if known_length else None)
            wrap = (lambda data: data) if known_length else chunked
            end = b"" if known_length else b"0\r\n\r\n"
            if whole:
                wire.send(opening + wrap(first + rest) + end)
                link = peer.accept()
                request = link.head()
            else:
                wire.send(opening + wrap(first))
                link = peer.accept()
                request = link.head()
                wire.send(wrap(rest) + end)
            if known_length or whole:
                assert b"\r\nContent-Length: %d\r\n" % len(expected) in request
                assert link.read(len(expected)) == expected
            else:
                assert link.chunked_body() == expected
            link.answer(b"1")
            assert wire.response().body == b"1"


@pytest.mark.parametrize("path", ["/route/m" + PATH, PATH + "?model=m", PATH + "?model=alias"])
def test_a_form_whose_target_names_the_model_goes_on_at_once(
    start_router: StartRouter, path: str
) -> None:
    body = form((FILE, SOUND), (MODEL, b"alias"))
    with Peer() as peer:
        router = start_router({}, models={"m": {"url": peer.url, "aliases": ["alias"]}})
        with Wire(router.port) as wire:
            wire.send(head(len(body), path=path) + body[:100])
            link = peer.accept()
            request = link.head()
            asked = PATH if path.startswith("/route") else PATH + "?model=m"
            assert request.startswith(b"POST %b HTTP/1.1\r\n" % asked.encode())
            assert b"\r\nTransfer-Encoding: chunked\r\n" in request
            wire.send(body[100:])
            assert link.chunked_body() == form((FILE, SOUND), (MODEL, b"m"))
            link.answer(b"1")
            assert wire.response().body == b"1"


def test_a_form_without_a_model_goes_where_the_target_says(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    body = form((FILE, SOUND))
    with Wire(router.port) as wire:
        wire.send(post(body, "/route/m" + PATH, FORM))
        assert wire.response().body == body
        wire.send(post(body, PATH, FORM))
        assert error_of(wire) == (400, None)


@pytest.mark.parametrize(
    ("path", "model", "expected"),
    [
        (PATH, b"no", (404, "model_not_found")),
        (PATH + "?model=no", b"m", (404, "model_not_found")),
        (PATH + "?model=o", b"m", (400, "conflicting_models")),
        ("/route/o" + PATH, b"m", (400, "conflicting_models")),
        ("/route/m" + PATH, b"no", (400, "conflicting_models")),
    ],
)
def test_unknown_and_conflicting_models_are_refused(
    start_backend: StartBackend,
    start_router: StartRouter,
    path: str,
    model: bytes,
    expected: tuple[int, object],
) -> None:
    backend = start_backend()
    router = start_router({"m": backend, "o": backend})
    with Wire(router.port) as wire:
        wire.send(post(form((MODEL, model), (FILE, SOUND)), path, FORM))
        assert error_of(wire) == expected
    assert backend.requests == []


def test_a_streamed_response_may_begin_before_the_form_ends(start_router: StartRouter) -> None:
    body = form((MODEL, b"m"), (FILE, SOUND))
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(head(len(body)) + body[:-20])
        link = peer.accept()
        link.head()
        link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        status, headers = wire.head()
        assert (status, headers["connection"]) == (200, "close")
        assert wire.chunk() == b"a"
        wire.send(body[-20:])
        assert link.read(len(body)) == body
        link.send(b"1\r\nb\r\n0\r\n\r\n")
        assert (wire.chunk(), wire.chunk()) == (b"b", b"")
        assert wire.at_end()


def test_what_follows_a_form_is_the_next_request(start_router: StartRouter) -> None:
    body = form((MODEL, b"m"), (FILE, SOUND))
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        for framed in (head(len(body)) + body, head(None) + chunked(body) + b"0\r\n\r\n"):
            wire.send(framed[:-40])
            wire.send(framed[-40:] + b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n" + post(chat()))
        link = peer.accept()
        for _ in range(2):
            link.head()
            assert link.read(len(body)) == body
            link.answer(b"form")
            assert wire.response().body == b"form"
            assert wire.response().body == b'{"status":"ok"}'
            link.head()
            link.read(len(chat()))
            link.answer(b"chat")
            assert wire.response().body == b"chat"


def test_a_form_is_told_to_come_where_it_asks(start_router: StartRouter) -> None:
    body = form((MODEL, b"m"), (FILE, SOUND))
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(head(len(body), "Expect: 100-continue"))
        assert wire.head() == (100, {})
        wire.send(body[:100])
        link = peer.accept()
        assert b"expect" not in link.head().lower()
        wire.send(body[100:])
        assert link.read(len(body)) == body
        link.answer(b"1")
        assert wire.response().body == b"1"


def test_a_client_of_http_1_0_may_send_a_form(start_router: StartRouter) -> None:
    body = form((MODEL, b"m"), (FILE, SOUND))
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(head(len(body)).replace(b"HTTP/1.1", b"HTTP/1.0") + body[:100])
        link = peer.accept()
        link.head()
        wire.send(body[100:])
        assert link.read(len(body)) == body
        link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
        response = wire.response()
        assert (response.body, response.headers["connection"]) == (b"a", "close")
        assert wire.at_end()


def test_a_token_is_asked_for_before_a_form_is_read(start_router: StartRouter) -> None:
    with Peer() as peer, Wire(start_router({"m": peer.url}, authTokens=["t"]).port) as wire:
        wire.send(head(10_000) + part(MODEL, b"m"))
        assert error_of(wire) == (401, "invalid_api_key")
        assert peer.nobody_came()


def test_a_reload_does_not_touch_a_form_on_its_way(start_router: StartRouter) -> None:
    body = form((MODEL, b"m"), (FILE, SOUND))
    with Peer() as peer:
        router = start_router({"m": peer.url})
        with Wire(router.port) as wire:
            wire.send(head(len(body)) + body[:20])
            until_read(router)
            router.reload({"models": {"n": {"url": peer.url}}})
            wire.send(body[20:100])
            link = peer.accept()
            link.head()
            wire.send(body[100:])
            assert link.read(len(body)) == body
            link.answer(b"1")
            assert wire.response().body == b"1"
