"""Requests that their heads decide: answered before their bodies come, of which nothing is kept."""

from __future__ import annotations

import pytest

from tests.router.conftest import StartBackend, StartFake, StartRouter
from tests.router.support.corpus.form_requests import BEGUN
from tests.router.support.endpoints import HEALTH, RunningRouter, Wire, ask, chat, post
from tests.router.support.fakes.router import statuses
from tests.router.support.peer import Peer

MB = 1024 * 1024
TOKEN = "Authorization: Bearer " + "t" * 20
FRAMINGS = [f"Content-Length: {MB}", "Transfer-Encoding: chunked"]

PAGES = {
    "GET /health": 200,
    "HEAD /health": 200,
    "GET /ready": 503,
    "HEAD /ready?model=m": 503,
    "GET /metrics": 200,
    "GET /v1/models": 200,
    "GET /models/": 200,
    "GET /v1/models/m": 200,
    "GET /v1/models/none": 404,
}
OPEN = [line for line in PAGES if "health" in line or "ready" in line]
REFUSED = {
    "POST /route/none/v1/chat/completions": (404, "model_not_found"),
    "POST /v1/chat/completions?model=none": (404, "model_not_found"),
    "POST /route/m/v1/x?model=other": (400, "conflicting_models"),
    "POST /v1/x?model=m&model=none": (400, "conflicting_models"),
}


def begin(line: str, framing: str, *fields: str) -> bytes:
    """Return a head, without anything of the body that it announces."""
    return "\r\n".join([f"{line} HTTP/1.1", "Host: r", framing, *fields, "", ""]).encode()


@pytest.fixture
def router(start_router: StartRouter) -> RunningRouter:
    gone = "http://127.0.0.1:1"
    return start_router({"m": gone, "other": gone}, authTokens=["t" * 20], maxBodyBytes=2 * MB)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("line", PAGES)
def test_a_page_of_llmhop_waits_for_no_body(line: str, framing: str, router: RunningRouter) -> None:
    with Wire(router.port) as wire:
        wire.send(begin(line, framing, TOKEN, "Expect: 100-continue"))
        response = wire.response(to_head=line.startswith("HEAD"))
        assert response.status == PAGES[line]
        assert response.headers["connection"] == "close"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("line", OPEN)
def test_unwanted_bodies_are_not_held_in_memory(
    line: str, framing: str, start_fake: StartFake
) -> None:
    router = start_fake()
    client = router.client()
    first = b"10000\r\n" if "chunked" in framing else b""
    router.send(client, begin(line, framing) + first + b"x" * 9)
    for _ in range(3):
        assert client.reading
        router.send(client, b"x" * 100_000)
        assert router.server.budget.held == 0
    if "ready" in line:
        router.answer(router.backend(), b"")
    assert statuses(client) == [200]
    assert client.eof


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=XbX"])
@pytest.mark.parametrize("line", REFUSED)
def test_what_the_target_decides_is_refused_before_the_body(
    line: str, kind: str, framing: str, router: RunningRouter
) -> None:
    with Wire(router.port) as wire:
        wire.send(begin(line, framing, TOKEN, f"Content-Type: {kind}", "Expect: 100-continue"))
        response = wire.response()
        assert (response.status, response.error_code) == REFUSED[line]
        assert response.headers["connection"] == "close"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=XbX"])
def test_a_coded_body_is_refused_before_it_comes(
    kind: str, framing: str, router: RunningRouter
) -> None:
    fields = (TOKEN, f"Content-Type: {kind}", "Content-Encoding: gzip", "Expect: 100-continue")
    with Wire(router.port) as wire:
        wire.send(begin("POST /v1/x", framing, *fields))
        assert wire.response().status == 415


def test_a_form_is_refused_by_its_target_although_some_of_it_came(router: RunningRouter) -> None:
    form = "Content-Type: multipart/form-data; boundary=XbX"
    with Wire(router.port) as wire:
        wire.send(begin("POST /route/none/v1/x", FRAMINGS[0], TOKEN, form) + BEGUN)
        assert wire.response().status == 404


def test_one_order_of_refusals_however_a_request_comes(router: RunningRouter) -> None:
    """The target is judged before the body, which may name another model."""
    raw = post(chat("m"), "/v1/x?model=none", TOKEN)
    head, mark, body = raw.partition(b"\r\n\r\n")
    whole = ask(router.port, raw)
    with Wire(router.port) as wire:
        wire.send(head + mark + body[:5])
        assert wire.response().status == whole.status == 404


def test_bodies_that_came_with_their_heads_end_no_connection(router: RunningRouter) -> None:
    asked = post(b"{}", "/health").replace(b"POST", b"GET")
    refused = post(chat(), "/route/none/v1/x", TOKEN)
    with Wire(router.port) as wire:
        wire.send((asked + refused) * 2)
        assert [wire.response().status for _ in range(4)] == [200, 404, 200, 404]
        wire.send(HEALTH)
        assert wire.response().status == 200


def test_a_body_is_thrown_away_while_its_answer_is_found_out(start_router: StartRouter) -> None:
    with Peer() as backend:
        router = start_router({"m": backend.url})
        with Wire(router.port) as wire:
            wire.send(begin("GET /ready", f"Content-Length: {MB}") + b"x" * 100_000)
            link = backend.accept()
            link.head()
            wire.send(b"x" * 300_000)
            link.answer()
            response = wire.response()
            assert response.status == 200
            assert response.headers["connection"] == "close"
            assert wire.at_end()


@pytest.mark.parametrize("line", ["GET /health", "HEAD /health"])
def test_a_client_that_still_sends_a_body_is_not_reset_under_the_answer(
    line: str, start_fake: StartFake
) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, begin(line, FRAMINGS[0]))
    assert statuses(client) == [200]
    assert client.eof
    assert not client.is_closing()
    router.send(client, b"x" * 1000)
    assert not client.is_closing()


def test_a_client_without_a_token_takes_no_memory_from_others(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router(
        {"m": start_backend()}, authTokens=["t" * 20], maxBodyBytes=MB, maxBufferedBytes=MB
    )
    dripping = [Wire(router.port) for _ in range(4)]
    for wire in dripping:
        wire.send(begin("GET /health", f"Content-Length: {MB}") + b"x" * (MB // 2))
    large = b'{"model":"m","x":"%b"}' % (b"x" * (MB // 2))
    assert ask(router.port, post(large, "/v1/x", TOKEN)).status == 200
    for wire in dripping:
        wire.close()
