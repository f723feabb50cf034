"""X-Request-Id: one for each request, the same for client, backend, errors and logs."""

from __future__ import annotations

import json

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import Wire, chat, post, respond_bytes


def test_each_request_gets_an_id_that_backend_and_client_see(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        ids = []
        for _ in range(3):
            wire.send(post(chat()))
            ids.append(wire.response().headers["x-request-id"])
    assert len(set(ids)) == 3
    assert [request.values("x-request-id") for request in backend.requests] == [[i] for i in ids]


@pytest.mark.parametrize("given", ["a", "req_123-ABC", 'with "quotes" and spaces', "x" * 128])
def test_a_client_may_bring_its_own_id(
    given: str, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        for _ in range(2):  # a head that is known as well
            wire.send(post(chat(), "/v1/chat/completions", f"X-Request-ID: {given}"))
            assert wire.response().headers["x-request-id"] == given
        assert backend.requests[1].values("x-request-id") == [given]
        wire.send(post(chat("no"), "/v1/chat/completions", f"X-Request-ID: {given}"))
        assert wire.response().error["request_id"] == given


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Request-Id: " + "x" * 129],
        ["X-Request-Id: caf\u00e9"],
        ["X-Request-Id: a\tb"],
        ["X-Request-Id:"],
        ["X-Request-Id: a", "X-Request-Id: b"],
    ],
)
def test_an_id_that_is_not_usable_is_replaced(
    lines: list[str], start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/chat/completions", *lines))
        made = wire.response().headers["x-request-id"]
    assert backend.requests[0].values("x-request-id") == [made]
    assert made not in "\n".join(lines)


def test_a_backends_own_id_does_not_reach_the_client(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nx-request-id: theirs\r\nContent-Length: 2\r\n\r\nok"
    router = start_router({"m": start_backend(respond_bytes(answer))})
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/chat/completions", "X-Request-Id: ours"))
        assert wire.response().headers["x-request-id"] == "ours"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: r\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: r\r\n\r\n",
        post(chat("nobody")),
        post(b"{"),
        post(chat("gone")),
        b"NOT HTTP\r\n\r\n",
    ],
)
def test_llmhops_own_responses_have_an_id(request_: bytes, start_router: StartRouter) -> None:
    router = start_router({"gone": "http://127.0.0.1:1"})
    with Wire(router.port) as wire:
        wire.send(request_)
        response = wire.response()
    assert len(response.headers["x-request-id"]) > 16
    if response.status >= 400:
        assert json.loads(response.body)["error"]["request_id"] == response.headers["x-request-id"]
