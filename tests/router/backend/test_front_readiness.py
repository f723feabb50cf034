"""What an llmhop before others says at /ready, and which llmhop it asks for that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.backends.fleet import CLOSED, Fleet, Host, ask
from tests.router.support.endpoints import chat, post


def ready(port: int, model: str | None = None, *fields: str) -> tuple[int, str]:
    query = "" if model is None else f"?model={model}"
    lines = "".join(f"{field}\r\n" for field in fields)
    response = ask(port, f"GET /ready{query} HTTP/1.1\r\nHost: r\r\n{lines}\r\n".encode())
    return response.status, response.body.decode()


@pytest.mark.parametrize("become", [Host.engine_down, Host.without_the_model])
def test_the_front_is_ready_for_what_its_hosts_serve(
    become: Callable[[Host], None], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhop.backend.readiness.READY_S", 0.0)
    assert ready(fleet.front.port)[0] == 200
    become(fleet.hosts[0])
    status, body = ready(fleet.front.port)
    assert (status, '"status":"degraded"' in body) == (200, True)
    assert '"replicas":[{"status":"down"},{"status":"up"}]' in body
    become(fleet.hosts[1])
    assert ready(fleet.front.port)[0] == 503


def test_ready_tells_of_one_model(start_router: StartRouter, start_backend: StartBackend) -> None:
    models = {
        "a": {"url": start_backend().url, "aliases": ["x"]},
        "hidden": {"url": CLOSED, "unlisted": True},
    }
    router = start_router(models, authTokens=["secret"])
    bearer = "Authorization: Bearer secret"
    up = '{"status":"up","replicas":[{"status":"up"}]}'
    assert ready(router.port, "a", bearer) == (200, f'{{"status":"ok","models":{{"a":{up}}}}}')
    assert ready(router.port, "x", bearer)[0] == 200
    assert ready(router.port, "hidden", bearer)[0] == 503
    assert ready(router.port, "none", bearer)[0] == 404
    # Without a token, only what serves can be told from what does not.
    assert ready(router.port, "a") == (200, '{"status":"ok"}')
    assert {ready(router.port, name) for name in ("hidden", "none")} == {(503, '{"status":"down"}')}


@pytest.mark.parametrize("route", ["", "/route/m"])
def test_questions_between_llmhops_end(route: str, start_router: StartRouter) -> None:
    first, second = (start_router({"m": CLOSED}) for _ in "ab")
    for router in (first, second):
        router.reload({"models": {"m": {"urls": [first.url + route, second.url + route]}}})
    for router in (first, second):
        assert ask(router.port, post(chat())).status in (503, 508)
    assert ready(first.port)[0] == 503
    assert ready(second.port)[0] == 503


@pytest.mark.parametrize("route", ["", "/route/m"])
def test_what_leads_to_itself_is_not_ready(route: str, start_router: StartRouter) -> None:
    router = start_router({"m": CLOSED})
    router.reload({"models": {"m": {"url": router.url + route}}})
    assert ask(router.port, post(chat())).status == 508
    assert ready(router.port)[0] == 503


@pytest.mark.parametrize(
    ("become", "status"),
    # A full host is up: asking takes neither a place nor a token.
    [(Host.up, 200), (Host.full, 200), (Host.engine_down, 503), (Host.without_the_model, 503)],
)
@pytest.mark.parametrize(
    ("model", "path"), [("other", "/route/other/"), ("org/other x", "/route/org%2Fother%20x")]
)
def test_a_url_that_leads_to_one_model_of_another_llmhop(
    become: Callable[[Host], None],
    status: int,
    model: str,
    path: str,
    start_router: StartRouter,
    start_backend: StartBackend,
) -> None:
    host = Host(start_backend(), start_router({"m": CLOSED}), model, ("token",))
    become(host)
    front = start_router({"m": {"url": host.router.url + path}})
    assert ready(front.port)[0] == status


def test_a_url_with_such_a_path_may_lead_to_no_llmhop(
    start_router: StartRouter, start_backend: StartBackend
) -> None:
    backend = start_backend()
    front = start_router({"m": {"url": backend.url + "/api/route/m"}})
    assert ready(front.port)[0] == 200
    assert [request.line for request in backend.requests] == [
        "GET /api/health HTTP/1.1",
        "GET /api/route/m/health HTTP/1.1",
    ]
