"""Requests and responses through a running router, byte by byte."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import OK, Received, Wire, chat, post, respond_bytes


def test_the_model_of_the_body_picks_the_backend(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(), start_backend()
    router = start_router({"a": first, "b": second})
    with Wire(router.port) as wire:
        for model in ("a", "b", "b"):
            wire.send(post(chat(model)))
            assert wire.response().body == chat(model)
    assert [len(first.requests), len(second.requests)] == [1, 2]


def test_the_body_is_relayed_byte_for_byte(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    odd = b' {"x": "\xc3\xa9\\u00e9", "n":1.50, "big": 12345678901234567890,"model" : "m"}\n'
    large = b'{"x":"' + b"y" * 3_000_000 + b'","model":"m"}'
    with Wire(router.port) as wire:
        for body in (odd, large, odd):
            wire.send(post(body))
            response = wire.response()
            assert response.body == body
    assert [request.body for request in backend.requests] == [odd, large, odd]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"])
def test_every_method_and_path_with_a_model_is_relayed(
    method: str, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/any/path?a=1&b=%20").replace(b"POST", method.encode(), 1))
        assert wire.response().status == 200
    assert backend.requests[0].line == f"{method} /any/path?a=1&b=%20 HTTP/1.1"


def test_upstream_connections_are_reused(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend, "other-name": backend})
    with Wire(router.port) as wire:
        for _ in range(50):
            wire.send(post(chat()))
            assert wire.response().status == 200
    with Wire(router.port) as wire:
        wire.send(post(chat("other-name")))
        assert wire.response().status == 200
    assert len(backend.requests) == 51
    assert backend.connections == 1


def test_an_idle_connection_that_the_backend_closed_is_not_used(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        for _ in range(5):
            wire.send(post(chat()))
            assert wire.response().status == 200
            backend.close_connections()
    assert [len(backend.requests), backend.connections] == [5, 5]


def test_an_upstream_connection_that_was_idle_for_too_long_is_closed(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.response().status == 200
        router.sweep_after(3)
        wire.send(post(chat()))
        assert wire.response().status == 200
        assert backend.connections == 1
        router.sweep_after(5)
        assert backend.gone.acquire(timeout=20)
        wire.send(post(chat()))
        assert wire.response().status == 200
    assert backend.connections == 2


def test_a_connection_is_not_reused_after_the_backend_said_close(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    raw = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    backend = start_backend(respond_bytes(raw))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        for _ in range(3):
            wire.send(post(chat()))
            response = wire.response()
            assert response.body == b"ok"
            assert "connection" not in response.headers
    assert backend.connections == 3


def test_a_stream_is_relayed_chunk_by_chunk(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    turn = asyncio.Semaphore(0)

    async def stream(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(5):
            await turn.acquire()
            event = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    backend = start_backend(stream)
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.head()[1]["transfer-encoding"] == "chunked"
        for number in range(5):
            # The backend sends the next event only after the client has read the last one.
            backend.thread.loop.call_soon_threadsafe(turn.release)
            assert wire.chunk() == b"data: %d\n\n" % number
        assert wire.chunk() == b""
        wire.send(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
        assert wire.response().status == 200
    assert backend.connections == 1


def test_a_body_that_ends_with_the_connection_ends_the_clients_too(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(respond_bytes(b"HTTP/1.1 200 OK\r\n\r\nto the end", close=True))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        response = wire.response()
        assert response.body == b"to the end"
        assert response.headers["connection"] == "close"


def test_responses_without_a_body_end_with_their_head(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        status = json.loads(request.body)["status"]
        length = b"" if status == 204 else b"Content-Length: 100\r\n"
        writer.write(b"HTTP/1.1 %d X\r\nETag: x\r\n%b\r\n" % (status, length))

    backend = start_backend(respond)
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        for method, status in (("HEAD", 200), ("POST", 204), ("POST", 304), ("HEAD", 200)):
            body = b'{"model":"m","status":%d}' % status
            wire.send(post(body).replace(b"POST", method.encode(), 1))
            response = wire.response(to_head=method == "HEAD")
            assert response.status == status
            assert response.headers["etag"] == "x"
            assert ("content-length" in response.headers) == (status != 204)
    assert backend.connections == 1


def test_interim_responses_are_relayed_before_the_final_one(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    backend = start_backend(respond_bytes(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.head() == (103, {"link": "</a>"})
        assert wire.response().body == b"ok"
    with Wire(router.port) as wire:
        wire.send(post(chat()).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert wire.response().body == b"ok"
        assert wire.at_end()


def test_a_chunked_request_reaches_the_backend_with_a_length(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    head = b"POST /v1/x HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n"
    body = chat()
    chunks = b"5\r\n%b\r\n%x;ext=1\r\n%b\r\n0\r\nT: 1\r\n\r\n" % (body[:5], len(body) - 5, body[5:])
    with Wire(router.port) as wire:
        wire.send(head + chunks + post(chat(), "/next"))
        assert wire.response().body == body
        assert wire.response().body == chat()
    first, second = backend.requests
    assert first.body == body
    assert first.values("content-length") == [str(len(body))]
    assert first.values("transfer-encoding") == first.values("trailer") == []
    assert second.line == "POST /next HTTP/1.1"


def test_expect_100_continue_is_answered_before_the_body_comes(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, maxBodyBytes=1000)
    whole = post(chat(), "/v1/x", "Expect: 100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    with Wire(router.port) as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.head() == (100, {})
        wire.send(body)
        assert wire.response().body == chat()
    assert backend.requests[0].values("expect") == []
    with Wire(router.port) as wire:
        wire.send(
            b"POST / HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n"
        )
        assert wire.response().status == 413


def test_pipelined_requests_are_answered_in_order(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(), start_backend()
    router = start_router({"a": first, "b": second})
    health = b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n"
    with Wire(router.port) as wire:
        wire.send((post(chat("a")) + health + post(chat("b")) + post(chat("no"))) * 20)
        for _ in range(20):
            assert wire.response().body == chat("a")
            assert wire.response().body == b'{"status":"ok"}'
            assert wire.response().body == chat("b")
            assert wire.response().status == 404
    assert [len(first.requests), len(second.requests)] == [20, 20]


def test_much_sent_ahead_is_answered_in_order_too(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    bodies = [b'{"n":%d,"x":"%b","model":"m"}' % (n, b"y" * 50_000) for n in range(40)]
    with Wire(router.port) as wire:
        for body in bodies:
            wire.send(post(body))
        for body in bodies:
            assert wire.response().body == body


def test_an_http10_client_gets_a_plain_body_and_the_end_of_the_connection(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    backend = start_backend(respond_bytes(raw))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(chat()), chat()))
        response = wire.response()
        assert response.body == b"abc"
        assert "transfer-encoding" not in response.headers
        assert response.headers["connection"] == "close"
    assert backend.requests[0].line == "POST / HTTP/1.1"


def test_connection_close_of_a_client_is_honoured(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", "Connection: close"))
        assert wire.response().headers["connection"] == "close"
        assert wire.at_end()
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.response().status == 200
    assert backend.connections == 1
    assert backend.requests[0].values("connection") == []


def test_ipv6_is_listened_on_and_told_to_the_backend(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, listen="[::1]:0")
    assert router.server.addresses == [f"http://[::1]:{router.port}"]
    with Wire(router.port, "::1") as wire:
        wire.send(post(chat()))
        assert wire.response().status == 200
    assert backend.requests[0].values("x-forwarded-for") == ["::1"]


def test_trailers_of_a_response_are_relayed_where_there_are_chunks(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n"
    chunks = b"2\r\nok\r\n0\r\nT: 1\r\n\r\n"
    router = start_router({"m": start_backend(respond_bytes(answer + chunks))})
    with Wire(router.port) as wire:
        for _ in range(2):
            wire.send(post(chat()))
            fields = wire.head()[1]
            assert (fields["transfer-encoding"], fields["trailer"]) == ("chunked", "T")
            assert wire.file.read(len(chunks)) == chunks
    with Wire(router.port) as wire:
        wire.send(post(chat()).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert wire.response().body == b"ok"
        assert wire.at_end()
