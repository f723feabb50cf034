"""/ready: whether the backends answer, found out by asking them."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import Any

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import Response, Wire, ask, chat, post, respond_bytes
from tests.router.support.process import Run

DOWN = "http://127.0.0.1:1"
UP_ONCE = {"status": "up", "replicas": [{"status": "up"}]}
DOWN_ONCE = {"status": "down", "replicas": [{"status": "down"}]}


def ready(*fields: str, method: str = "GET", path: str = "/ready") -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {path} HTTP/1.1\r\nHost: r\r\n{lines}\r\n".encode()


def said(response: Response) -> tuple[int, Any]:
    return response.status, json.loads(response.body)


def test_it_is_ready_before_the_first_request_when_every_backend_takes_connections(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(), start_backend()
    router = start_router({"a": first, "b": {"urls": [first.url, second.url]}})
    both = {"status": "up", "replicas": [{"status": "up"}, {"status": "up"}]}
    assert said(ask(router.port, ready())) == (
        200,
        {"status": "ok", "models": {"a": UP_ONCE, "b": both}},
    )
    assert first.gone.acquire(timeout=20)
    assert second.gone.acquire(timeout=20)
    assert [request.line for request in first.requests] == ["GET /health HTTP/1.1"]
    assert (first.connections, second.connections) == (1, 1), "a shared backend is asked once"


def test_a_model_with_one_of_two_backends_is_still_served(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"a": {"urls": [DOWN, start_backend().url]}})
    one = {"status": "up", "replicas": [{"status": "down"}, {"status": "up"}]}
    assert said(ask(router.port, ready())) == (200, {"status": "degraded", "models": {"a": one}})


def test_it_is_not_ready_while_a_model_has_no_backend(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"a": DOWN, "b": start_backend(), "c": "unix:/no/such.sock"})
    status, body = said(ask(router.port, ready()))
    assert (status, body["status"]) == (503, "down")
    assert body["models"] == {"a": DOWN_ONCE, "b": UP_ONCE, "c": DOWN_ONCE}


def test_a_backend_that_hangs_is_down(
    hanging: str, start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"a": {"url": hanging, "connectTimeout": 0.05}, "b": start_backend()})
    status, body = said(ask(router.port, ready()))
    assert (status, body["models"]) == (503, {"a": DOWN_ONCE, "b": UP_ONCE})


def test_a_unix_socket_is_asked_as_well(
    start_backend: StartBackend, start_router: StartRouter, tmp_path: Any
) -> None:
    backend = start_backend(path=tmp_path / "engine.sock")
    router = start_router({"a": f"unix:{backend.path}"})
    status, body = said(ask(router.port, ready()))
    assert (status, body["models"]) == (200, {"a": UP_ONCE})


def test_an_answer_counts_for_a_while_and_costs_the_backends_nothing(
    start_backend: StartBackend, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhop.models.readiness.READY_S", 1000.0)
    backend = start_backend()
    router = start_router({"a": backend})
    first = said(ask(router.port, ready()))
    assert backend.gone.acquire(timeout=20)
    backend.stop()
    with Wire(router.port) as wire:
        wire.send(ready() * 50)
        assert [said(wire.response()) for _ in range(50)] == [first] * 50
    assert backend.connections == 1
    # Another config is another question.
    router.reload({"models": {"a": {"url": backend.url}}})
    assert said(ask(router.port, ready())) == (503, {"status": "down", "models": {"a": DOWN_ONCE}})


def test_requests_while_backends_are_asked_wait_for_the_same_answer(
    hanging: str, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"a": backend, "b": {"url": hanging, "connectTimeout": 0.5}})
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for _ in range(20)]
        for wire in wires:
            wire.send(ready())
        wires.pop(0).close()  # who asked first leaves, and the others get their answer
        assert {wire.response().status for wire in wires} == {503}
    assert backend.gone.acquire(timeout=20)
    assert backend.connections == 1


def test_without_a_token_the_models_are_not_told(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"a": start_backend(), "b": DOWN}, authTokens=["right"])
    for fields in ((), ("Authorization: Bearer wrong",), ("Authorization: Basic right",)):
        assert said(ask(router.port, ready(*fields))) == (503, {"status": "down"})
    status, body = said(ask(router.port, ready("Authorization: Bearer right")))
    assert (status, body["models"]) == (503, {"a": UP_ONCE, "b": DOWN_ONCE})


def test_a_model_that_is_not_listed_counts_and_is_not_named(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"a": start_backend(), "b": {"url": DOWN, "unlisted": True}})
    assert said(ask(router.port, ready())) == (503, {"status": "down", "models": {"a": UP_ONCE}})


def test_where_the_backends_are_is_not_told(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"a": f"{backend.url}/path?key=hunter2"})
    response = ask(router.port, ready())
    assert response.status == 200
    for part in (str(backend.port), "127.0.0.1", "path", "hunter2"):
        assert part not in response.body.decode()


def test_ready_is_answered_in_order_and_to_head_without_a_body(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend()})
    with Wire(router.port) as wire:
        wire.send(post(chat()) + ready() + post(chat()) + ready(method="HEAD", path="/ready?x"))
        assert wire.response().body == chat()
        assert said(wire.response())[0] == 200
        assert wire.response().body == chat()
        head = wire.response(to_head=True)
        assert (head.status, int(head.headers["content-length"]) > 10) == (200, True)
        wire.send(ready(method="POST"))
        assert wire.response().status == 400, "what is not read is a request for a model"
        wire.send(ready("Connection: close"))
        assert wire.response().headers["connection"] == "close"
        assert wire.at_end()


@pytest.mark.parametrize(
    ("answer", "status"),
    [(b"200 OK", 200), (b"404 Not Found", 200), (b"401 No", 200), (b"503 Dead", 503)],
)
def test_a_backend_is_up_when_it_answers_and_not_with_an_error_of_its_own(
    answer: bytes, status: int, start_backend: StartBackend, start_router: StartRouter
) -> None:
    raw = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % answer
    router = start_router({"m": start_backend(respond_bytes(raw))})
    assert ask(router.port, ready()).status == status


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 20", b"SMTP\r\n\r\n"])
def test_a_backend_that_only_accepts_is_down(
    raw: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend(respond_bytes(raw, close=True))})
    assert ask(router.port, ready()).status == 503


def test_a_client_that_leaves_leaves_nothing_behind(
    hanging: str, start_router: StartRouter
) -> None:
    router = start_router({"m": {"url": hanging, "connectTimeout": 0.5}})

    async def tasks(least: int, most: int) -> None:
        # Besides this one, the thread's own task is always there.
        while not least <= len(asyncio.all_tasks()) - 2 <= most:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)

    with Wire(router.port) as wire:
        wire.send(ready())
        router.thread.run(tasks(2, 9))
    router.thread.run(tasks(0, 0))
    assert not router.server.clients


def test_every_worker_answers(run: Run, start_backend: StartBackend) -> None:
    process = run({"models": {"m": {"url": start_backend().url}}, "workers": 2})
    answers = [said(ask(process.port, ready())) for _ in range(20)]
    assert answers == [(200, {"status": "ok", "models": {"m": UP_ONCE}})] * 20
