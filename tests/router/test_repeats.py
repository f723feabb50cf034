"""Heads that were seen before: a repeat is served as the first time, and nothing else is one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from llmhop.chunked import ChunkedReader, ChunkError
from llmhop.errors import ApiError, BackendError
from llmhop.head_cache import MAX_CACHED_BYTES, MAX_HEADS, HeadCache, LastHead
from llmhop.http_head import parse_request_head, parse_response_head

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support import Wire, chat, post

REQUEST = (
    b"POST /v1/chat?x=1 HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer k\r\n"
    b"Content-Length: 12\r\nConnection: close, x-a\r\nX-A: 1\r\n\r\n"
)
RESPONSE = b"HTTP/1.1 200 OK\r\nserver: s\r\ncontent-length: 12\r\nX: y\r\n\r\n"


def outcome(read: Callable[[bytes], tuple[object, int | None]], raw: bytes) -> object:
    try:
        return read(raw)
    except (ApiError, BackendError) as error:
        return type(error), str(error)


@pytest.mark.parametrize(
    ("parse", "raw"), [(parse_request_head, REQUEST), (parse_response_head, RESPONSE)]
)
def test_a_head_that_differs_in_any_byte_is_read_on_its_own(
    parse: Callable[[bytes], tuple[object, int | None]], raw: bytes
) -> None:
    cache = HeadCache(parse)
    cache.read(raw)
    for at in range(len(raw)):
        for byte in (b"", b"0", b"7", b"a", b"\r", b"\n", b" ", b":", b"-", b"\x00", b"\xff"):
            other = raw[:at] + byte + raw[at + 1 :]
            # Twice: as something new, and as what may by then be a repeat.
            assert outcome(cache.read, other) == outcome(parse, other)
            assert outcome(cache.read, other) == outcome(parse, other)
    assert cache.read(raw) == parse(raw)


@pytest.mark.parametrize(
    ("parse", "raw"), [(parse_request_head, REQUEST), (parse_response_head, RESPONSE)]
)
@pytest.mark.parametrize("body", [b"twelve bytes", b"", b"twelve bytes!"])
def test_a_connection_reads_what_follows_a_repeat_as_a_new_connection_would(
    parse: Callable[[bytes], tuple[object, int | None]], raw: bytes, body: bytes
) -> None:
    def read(last: LastHead[object], data: bytes) -> object:
        try:
            return last.read_whole(data)
        except (ApiError, BackendError) as error:
            return type(error), str(error)

    message = raw + b"twelve bytes"
    for at in range(len(raw)):
        last: LastHead[object] = LastHead(HeadCache(parse))
        first = last.read_whole(message)
        assert first is not None
        assert first[1] == b"twelve bytes"
        for _ in range(2):
            again = last.read_whole(message)
            assert again is not None
            assert again[0] is first[0]
            assert again[1] == first[1]
        for byte in (b"", b"0", b"1", b"a", b"\r", b"\n", b" ", b"\xff"):
            other = raw[:at] + byte + raw[at + 1 :] + body
            assert read(last, other) == read(LastHead(HeadCache(parse)), other)
            assert last.read_whole(message) == first


def test_a_whole_chunk_is_known_by_its_length_and_line_or_read_byte_by_byte() -> None:
    lines = [b"5\r\n", b"05\r\n", b"5;x\r\n", b"6\r\n", b"4\r\n", b"0\r\n", b"\r\n", b"+5\r\n"]
    pieces = [line + data for line in lines for data in (b"hello\r\n", b"hell\r\n", b"hello\n\n")]
    for _ in range(2):
        for piece in pieces:
            reader, slow, payload = ChunkedReader(), ChunkedReader(), bytearray()
            try:
                fed = slow.feed(piece, payload) == len(piece) and slow.feed(b"0\r\n\r\n") == 5
                whole = fed and slow.done and bool(payload)
            except ChunkError:
                whole = False
            assert reader.take_whole(piece) == whole, piece


@pytest.mark.parametrize(
    "length",
    [
        b"Content-Length: 5\r\n",
        b"Content-Length: 005\r\n",
        b"Content-Length: \r\n",
        b"Content-Length:  5\r\n",
        b"Content-Length: 5 \r\n",
        b"Content-Length:5\r\n",
        b"content-length: 5\r\n",
        b"CONTENT-LENGTH: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\ncontent-length: 6\r\n",
        b"content-length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: " + b"9" * 19 + b"\r\n",
        b"Content-Length: " + b"\xd9\xa5" + b"\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"",
    ],
)
def test_a_length_in_any_spelling_is_read_as_without_a_memory(length: bytes) -> None:
    cache = HeadCache(parse_request_head)
    for known in (b"Content-Length: 7\r\n", b"content-length: 7\r\n", b"Content-Length:7\r\n", b""):
        cache.read(b"POST / HTTP/1.1\r\nHost: r\r\n" + known + b"\r\n")
    raw = b"POST / HTTP/1.1\r\nHost: r\r\n" + length + b"\r\n"
    for _ in range(2):
        assert outcome(cache.read, raw) == outcome(parse_request_head, raw)


def test_repeats_are_one_object_whatever_their_length() -> None:
    cache = HeadCache(parse_request_head)
    (first, short), (again, long) = (
        cache.read(REQUEST.replace(b"12", digits)) for digits in (b"5", b"5000")
    )
    assert (short, long) == (5, 5000)
    assert first is again
    assert len(cache) == 1


def test_the_memory_of_heads_is_bounded() -> None:
    cache = HeadCache(parse_request_head)
    for number in range(MAX_HEADS * 3):
        cache.read(b"GET /%d HTTP/1.1\r\nHost: r\r\n\r\n" % number)
        assert 0 < len(cache) <= MAX_HEADS
    cache = HeadCache(parse_request_head)
    cache.read(b"GET / HTTP/1.1\r\nHost: r\r\nX: %b\r\n\r\n" % (b"y" * MAX_CACHED_BYTES))
    assert len(cache) == 0


def test_what_was_refused_is_not_remembered() -> None:
    cache = HeadCache(parse_request_head)
    for _ in range(2):
        with pytest.raises(ApiError):
            cache.read(b"POST / HTTP/1.1\r\nHost: r\r\nX : y\r\nContent-Length: 1\r\n\r\n")
    assert len(cache) == 0


def test_a_reload_counts_for_the_next_repeat_on_an_open_connection(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    old, new = start_backend(), start_backend()
    router = start_router({"m": old}, authTokens=["a"])
    request = post(chat(), "/v1/x", "Authorization: Bearer a")
    with Wire(router.port) as wire:
        for _ in range(2):
            wire.send(request)
            assert wire.response().status == 200
        headers = {"X-New": "1"}
        models = {"m": {"url": new.url + "/new", "headers": headers}}
        router.reload({"models": models, "authTokens": ["b", "a"]})
        for _ in range(2):
            wire.send(request)
            assert wire.response().status == 200
        router.reload({"models": models, "authTokens": ["b"]})
        wire.send(request)
        assert wire.response().status == 401
    assert [r.line for r in old.requests] == ["POST /v1/x HTTP/1.1"] * 2
    assert [r.line for r in new.requests] == ["POST /new/v1/x HTTP/1.1"] * 2
    assert [r.values("x-new") for r in new.requests] == [["1"], ["1"]]


def test_models_that_take_turns_under_one_head_each_get_their_own(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backends = {"a": start_backend(), "b": start_backend()}
    router = start_router(dict(backends))
    with Wire(router.port) as wire:
        for model in "abbaba":
            wire.send(post(chat(model)))
            assert wire.response().body == chat(model)
    for model, backend in backends.items():
        assert [request.body for request in backend.requests] == [chat(model)] * 3
        host = f"127.0.0.1:{backend.port}"
        assert [request.values("host") for request in backend.requests] == [[host]] * 3


def test_clients_with_the_same_head_keep_their_own_addresses(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
        with Wire(router.port, source=address) as wire:
            wire.send(post(chat()))
            assert wire.response().status == 200
        assert backend.requests[-1].values("x-forwarded-for") == [address]


def test_a_token_that_one_client_showed_does_not_open_the_router_to_another(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, authTokens=["right"])
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", "Authorization: Bearer right"))
        assert wire.response().status == 200
        wire.send(post(chat(), "/v1/x", "Authorization: Bearer wrong"))
        assert wire.response().status == 401
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x"))
        assert wire.response().status == 401
    assert len(backend.requests) == 1
