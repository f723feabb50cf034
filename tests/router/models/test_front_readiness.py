"""What an llmhop before others says at /ready, and which llmhop it asks for that."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from llmhop.limits import MAX_HOPS

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.backends.fleet import CLOSED, Fleet, Host, ask
from tests.router.support.endpoints import RunningRouter, chat, post
from tests.router.support.scrape import Scrape

PATHS = ["", "/", "/v1", "/v1/", "/route/m", "/route/m/", "/route/m/v1"]
LOOP = {"status": "down", "replicas": [{"status": "down", "reason": "loop"}]}


def ready(port: int, model: str | None = None, *fields: str) -> tuple[int, str]:
    query = "" if model is None else f"?model={model}"
    lines = "".join(f"{field}\r\n" for field in fields)
    response = ask(port, f"GET /ready{query} HTTP/1.1\r\nHost: r\r\n{lines}\r\n".encode())
    return response.status, response.body.decode()


@pytest.mark.parametrize("become", [Host.engine_down, Host.without_the_model])
def test_the_front_is_ready_for_what_its_hosts_serve(
    become: Callable[[Host], None], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhop.models.readiness.READY_S", 0.0)
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
    assert ready(router.port, "a&model=x&model=a", bearer)[0] == 200
    assert ready(router.port, "x&model=hidden", bearer)[0] == 400
    assert ready(router.port, "hidden", bearer)[0] == 503
    assert ready(router.port, "none", bearer)[0] == 404
    # Without a token, only what serves can be told from what does not.
    assert ready(router.port, "a") == (200, '{"status":"ok"}')
    assert {ready(router.port, name) for name in ("hidden", "none")} == {(503, '{"status":"down"}')}


def ring(start_router: StartRouter, size: int, path: str) -> list[RunningRouter]:
    """Llmhops of which each leads to the next, and the last to the first."""
    routers = [start_router({"m": CLOSED}) for _ in range(size)]
    for router, following in zip(routers, [*routers[1:], routers[0]], strict=True):
        router.reload({"models": {"m": {"url": following.url + path}}})
    return routers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_loop_is_not_ready_and_told_as_one_before_any_request(
    size: int, path: str, start_router: StartRouter
) -> None:
    for router in ring(start_router, size, path):
        for model in (None, "m"):
            status, body = ready(router.port, model)
            assert (status, json.loads(body)) == (503, {"status": "down", "models": {"m": LOOP}})
    assert ask(router.port, post(chat())).status == 508


@pytest.mark.parametrize("path", PATHS)
def test_what_is_asked_goes_as_far_as_a_request(
    path: str, start_router: StartRouter, start_backend: StartBackend
) -> None:
    url = start_backend().url
    for hops in range(MAX_HOPS + 2):
        router = start_router({"m": url + path if hops else url})
        served = ask(router.port, post(chat())).status == 200
        assert served == (hops < MAX_HOPS)
        for model in (None, "m"):
            assert (ready(router.port, model)[0] == 200) == served
        url = router.url


@pytest.mark.parametrize("route", ["", "/route/m"])
def test_hosts_that_are_each_others_fallback_are_ready_while_one_engine_is(
    route: str,
    start_router: StartRouter,
    start_backend: StartBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llmhop.models.readiness.READY_S", 0.0)
    routers = [start_router({"m": CLOSED}) for _ in range(3)]

    def serve(engines: list[str]) -> None:
        for router, engine in zip(routers, engines, strict=True):
            others = [other.url + route for other in routers if other is not router]
            router.reload({"models": {"m": {"urls": [engine, *others]}}})

    serve([CLOSED, CLOSED, start_backend().url])
    assert [ready(router.port)[0] for router in routers] == [200, 200, 200]
    serve([CLOSED, CLOSED, CLOSED])
    assert [ready(router.port)[0] for router in routers] == [503, 503, 503]


@pytest.mark.usefixtures("fresh_metrics")
def test_questions_do_not_multiply(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhop.models.readiness.READY_S", 1000.0)
    routers = [start_router({"m": CLOSED}) for _ in range(6)]
    for router in routers:
        others = [other.url for other in routers if other is not router]
        router.reload({"models": {"m": {"urls": [CLOSED, *others]}}})
    for _ in range(3):
        assert [ready(router.port)[0] for router in routers] == [503] * len(routers)
    asked = Scrape(routers[0].port).value("llmhop_requests_total", model="", status="200")
    asked += Scrape(routers[0].port).value("llmhop_requests_total", model="", status="503")
    asked += Scrape(routers[0].port).value("llmhop_requests_total", model="", status="508")
    # Of each other one: its /health, and the model for a client and for one or two llmhops.
    pairs = len(routers) * (len(routers) - 1)
    assert asked - 3 * len(routers) - 2 <= pairs * (1 + MAX_HOPS)


def test_what_hangs_behind_a_host_takes_no_other_model_or_replica_with_it(
    hanging: str, start_router: StartRouter, start_backend: StartBackend
) -> None:
    engine = start_backend().url
    models: dict[str, Any] = {"m": {"urls": [hanging, engine]}, "other": {"url": hanging}}
    host = start_router(models)
    front = start_router({"m": host.url})
    assert ready(front.port)[0] == 200


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
