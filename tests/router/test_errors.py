"""Errors that clients and backends cause: each is one clear answer in OpenAI's shape."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import pytest
from llmhop.http.local_response import LocalResponse
from llmhop.process import server

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.responses import CHUNKED, EVIL
from tests.router.support.endpoints import Received, Wire, chat, post, respond_bytes, respond_in_two


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "names no model"),
        (b"{", 400, "not JSON"),
        (b"model=m", 400, "not a JSON object"),
        (b'{"model":"m"} x', 400, "not JSON"),
        (b'{"model":"\xff"}', 400, "not a string that can be read"),
        (b'{"model":"\\ud800"}', 400, "not a string that can be read"),
        ('{"model":"m"}'.encode("utf-16"), 400, "must be in UTF-8"),
        (b'{"model":"m","x":' + b"[" * 1_000_000, 400, "nested too deeply"),
        (b"[" * 100_000, 400, "not a JSON object"),
        (b'["model","m"]', 400, "not a JSON object"),
        (b"null", 400, "not a JSON object"),
        (b"{}", 400, "needs a 'model'"),
        (b'{"Model":"m"}', 400, "write it as 'model'"),
        (b'{"model":null}', 400, "must be a string"),
        (b'{"model":1}', 400, "must be a string"),
        (b'{"model":["m"]}', 400, "must be a string"),
        (b'{"model":"m","model":1}', 400, "must be a string"),
        (b'{"model":""}', 404, "does not exist"),
        (b'{"model":"M"}', 404, "does not exist"),
        (b'{"model":"m "}', 404, "does not exist"),
        (b'{"model":"m","model":"other"}', 400, "two models, 'm' and 'other'"),
        (b'{"model":"' + b"x" * 50_000 + b'"}', 404, "does not exist"),
        (b'{"model":"' + b"x" * 100_000 + b'"}', 400, "is longer than"),
    ],
)
def test_a_body_without_a_known_model_is_told_what_is_wrong(
    body: bytes, status: int, words: str, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(body) + post(chat()))
        response = wire.response()
        assert response.status == status
        assert words in str(response.error["message"])
        assert len(response.body) < 1000
        assert response.error["type"] == "invalid_request_error"
        if status == 404:
            assert (response.error["param"], response.error_code) == ("model", "model_not_found")
        assert wire.response().body == chat(), "the connection goes on"
    assert len(backend.requests) == 1


def test_a_model_may_be_spelled_with_escapes(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"é/m": backend})
    body = b'{"mod\\u0065l":"\\u00e9\\/m"}'
    with Wire(router.port) as wire:
        wire.send(post(body))
        assert wire.response().body == body


def test_a_body_beyond_the_limit_is_refused_at_once(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, maxBodyBytes=len(chat()))
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.response().status == 200, "a body of just the limit passes"
        # Only announced, never sent: the answer comes all the same.
        wire.send(b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 999999999999\r\n\r\n")
        response = wire.response()
        assert (response.status, response.error_code) == (413, "request_too_large")
        assert response.headers["connection"] == "close"
        assert wire.at_end()
    assert len(backend.requests) == 1


def test_a_chunked_body_beyond_the_limit_is_refused_where_it_gets_there(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, maxBodyBytes=100_000)
    chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
    with Wire(router.port) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(chunk * 11)
        assert wire.socket.recv(1, socket.MSG_PEEK), "the answer is there"
        # Going on to send does not reset the connection under an answer that was not read yet.
        wire.send(chunk * 50)
        wire.send(chunk * 50)
        assert wire.response().status == 413
        assert wire.at_end()
    assert backend.requests == []


def test_the_models_of_the_config_are_listed(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"a": start_backend(), "org/b c": "http://127.0.0.1:1"})
    with Wire(router.port) as wire:
        wire.send(b"GET /v1/models?x=1 HTTP/1.1\r\nHost: r\r\n\r\n")
        listed = json.loads(wire.response().body)
        assert listed["object"] == "list"
        assert [model["id"] for model in listed["data"]] == ["a", "org/b c"]
        for model in listed["data"]:
            assert (model["object"], model["owned_by"]) == ("model", "llmhop")
            assert isinstance(model["created"], int)
        for path in (b"org/b%20c", b"org%2Fb%20c"):
            wire.send(b"GET /v1/models/%b HTTP/1.1\r\nHost: r\r\n\r\n" % path)
            assert json.loads(wire.response().body) == listed["data"][1]
        for path in (b"c", b"%FF", b"a/b"):
            wire.send(b"GET /v1/models/%b HTTP/1.1\r\nHost: r\r\n\r\n" % path)
            assert wire.response().error_code == "model_not_found"
        wire.send(b"HEAD /v1/models HTTP/1.1\r\nHost: r\r\n\r\n" * 2)
        assert int(wire.response(to_head=True).headers["content-length"]) > 100
        assert wire.response(to_head=True).status == 200


def test_a_backend_that_is_down_is_a_503_and_one_line_in_the_log(
    start_router: StartRouter, start_backend: StartBackend, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    backend.stop()
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        response = wire.response()
        assert (response.status, response.error_code) == (503, "backend_unavailable")
        assert response.headers["retry-after"] == "1"
        assert response.error["type"] == "server_error"
        assert str(backend.port) not in response.body.decode(), "where it runs is nobody's business"
        backend.start()
        wire.send(post(chat()))
        assert wire.response().status == 200, "the connection and the route work again"
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "'m'" in lines[0]
    assert backend.url in lines[0]


def test_a_fault_of_llmhop_is_a_500_and_its_traceback_in_the_log(
    start_router: StartRouter, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_store: object) -> LocalResponse:
        raise ZeroDivisionError("as no page should")

    monkeypatch.setattr(server, "_render_page", fail)
    router = start_router({"m": "http://127.0.0.1:1"})
    with Wire(router.port) as wire:
        wire.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        response = wire.response()
        assert (response.status, response.error_code) == (500, "internal_error")
        assert "as no page should" not in response.body.decode()
        wire.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.response().status == 200, "the connection goes on"
    assert "ZeroDivisionError: as no page should" in capfd.readouterr().err


def test_a_host_that_can_not_be_resolved_is_a_503(start_router: StartRouter) -> None:
    router = start_router({"m": "http://no-such-host.invalid:1", "n": f"http://{'a' * 63}.invalid"})
    with Wire(router.port) as wire:
        for model in ("m", "n"):
            wire.send(post(chat(model)))
            assert wire.response().status == 503


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Go\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
        b"HTTP/1.1 103 Hint\r\n\r\n" * 17,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_a_backend_that_breaks_http_is_a_502(
    raw: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(respond_bytes(raw, close=True))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        response = wire.response()
        while response.status == 103:
            response = wire.response()
        code = "backend_error" if raw else "backend_unavailable"
        assert response.error_code == code
        if raw:
            ended = raw.endswith(b"-Le")
            did = "broke off before its response" if ended else "sent what is no valid response"
            assert response.error["message"] == f"The backend of the model 'm' {did}."
    assert len(backend.requests) == 1, "a request that may have begun is not sent again"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
    ],
)
def test_a_response_that_breaks_off_looks_broken_to_the_client(
    raw: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(respond_bytes(raw, close=True))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.head()[0] == 200
        rest = wire.file.read()
        assert rest == raw.partition(b"\r\n\r\n")[2], "what came is relayed, and no end is made up"
    assert len(backend.requests) == 1


def test_a_broken_chunk_is_not_relayed(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    go_on = threading.Event()

    backend = start_backend(respond_in_two(CHUNKED + b"2\r\nok\r\n", go_on, b"2\r\nok" + EVIL))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.head()[0] == 200
        assert wire.chunk() == b"ok"
        go_on.set()
        assert wire.at_end()


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 2\r\n\r\nok",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_what_a_backend_sends_after_a_response_reaches_nobody(
    body: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    extra = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    backend = start_backend(respond_bytes(b"HTTP/1.1 200 OK\r\n" + body + extra))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        for _ in range(3):
            wire.send(post(chat()))
            assert wire.response().body == b"ok"
    assert backend.connections == 3


def test_what_a_backend_sends_unasked_closes_its_connection(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    go_on = threading.Event()
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(ok)
        await writer.drain()
        if len(backend.requests) == 1:
            await asyncio.to_thread(go_on.wait)
            writer.write(ok.replace(b"\r\n\r\nok", b"\r\n\r\nno"))

    backend = start_backend(respond)
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.response().body == b"ok"
        go_on.set()
        assert backend.gone.acquire(timeout=20)
        wire.send(post(chat()))
        assert wire.response().body == b"ok"
    assert backend.connections == 2
