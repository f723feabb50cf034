"""Clients with a name through a running router: access log, metrics, reloads, configuration."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from llmhop.config.findings import ConfigError
from llmhop.config.load import check_unread, load

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.form_requests import PATH, head
from tests.router.support.corpus.forms import FILE, MODEL, part
from tests.router.support.endpoints import (
    HEALTH,
    TIMEOUT,
    Received,
    RunningRouter,
    Wire,
    ask,
    chat,
    check,
    hold,
    respond_bytes,
    wait_until,
)
from tests.router.support.peer import Peer
from tests.router.support.process import Run
from tests.router.support.scrape import Scrape
from tests.router.support.workers import workers

AUDIO = PATH.encode()
CLIENTS: dict[str, Any] = {
    "team-a": {"token": "a-token", "models": ["m"]},
    "team-b": {"tokens": ["b-token", "b-next"]},
    "prometheus": {"token": "p-token", "models": [], "paths": ["/metrics"]},
}
USAGE = json.dumps({"usage": {"prompt_tokens": 7, "completion_tokens": 5}}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(USAGE),
    USAGE,
)


def request(token: str, model: str, line: str = "POST /v1/chat/completions") -> bytes:
    body = chat(model)
    head = f"{line} HTTP/1.1\r\nHost: r\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Authorization: Bearer {token}\r\n\r\n".encode() + body


def status(port: int, token: str, model: str) -> int:
    return ask(port, request(token, model)).status


@pytest.fixture
def router(start_backend: StartBackend, start_router: StartRouter) -> RunningRouter:
    url = start_backend(respond_bytes(ANSWER))
    return start_router({"m": url, "n": url}, clients=CLIENTS, authTokens=["plain"])


@pytest.mark.usefixtures("fresh_metrics")
def test_usage_is_told_apart_by_client(router: RunningRouter) -> None:
    for token, model, expected in (
        ("a-token", "m", 200),
        ("a-token", "m", 200),
        ("a-token", "n", 403),
        ("b-token", "m", 200),
        ("b-next", "n", 200),
        ("plain", "m", 200),
        ("none", "m", 401),
    ):
        assert status(router.port, token, model) == expected
    scrape = Scrape(router.port, "Authorization: Bearer p-token")

    def requests(code: str, **labels: str) -> float:
        return scrape.value("llmhop_requests_total", status=code, **labels)

    def prompt_tokens(**labels: str) -> float:
        return scrape.value("llmhop_tokens_total", type="prompt", **labels)

    assert requests("200", model="m", client="team-a") == 2
    assert requests("403", model="", client="team-a") == 1
    assert requests("200", model="m", client="team-b") == 1
    assert requests("200", model="n", client="team-b") == 1
    assert requests("200", model="m") == 1
    assert requests("401", model="") == 1
    assert prompt_tokens(model="m", client="team-a") == 14
    assert prompt_tokens(model="n", client="team-b") == 7
    assert prompt_tokens(model="m") == 7
    # Of all clients together, as many series would take seconds.
    assert scrape.value("llmhop_request_duration_seconds_count", model="m") == 4


def test_one_connection_may_carry_requests_of_several(router: RunningRouter) -> None:
    with Wire(router.port) as wire:
        for token, model, expected in (
            ("a-token", "m", 200),
            ("b-token", "n", 200),
            ("a-token", "n", 403),
            ("a-token", "m", 200),
            ("b-next", "n", 200),
            ("none", "m", 401),
        ):
            wire.send(request(token, model))
            assert wire.response().status == expected


def test_the_log_has_the_name_of_who_asked_and_no_token(
    run: Run, start_backend: StartBackend
) -> None:
    process = run(
        {
            "models": {"m": {"url": start_backend().url}},
            "accessLog": "json",
            "clients": CLIENTS,
        }
    )
    with Wire(process.port) as wire:
        for token in ("a-token", "b-next", "none"):
            wire.send(request(token, "m"))
            wire.response()
    wait_until(lambda: len(process.lines()) >= 3)
    entries = [json.loads(line) for line in process.lines()]
    assert [entry["client_name"] for entry in entries] == ["team-a", "team-b", None]
    assert not any("token" in line for line in process.lines())


def test_no_token_of_a_client_reaches_a_backend(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, clients=CLIENTS)
    assert status(router.port, "a-token", "m") == 200
    received: Received = backend.requests[0]
    assert not received.values("authorization")


def test_a_reload_takes_rights_away_at_once(router: RunningRouter) -> None:
    models = {name: {"url": "http://127.0.0.1:1"} for name in ("m", "n")}
    with Wire(router.port) as wire:
        wire.send(request("a-token", "m"))
        assert wire.response().status == 200
        clients = CLIENTS | {"team-a": {"token": "a-token", "models": ["n"]}}
        router.reload({"models": models, "clients": clients})
        wire.send(request("a-token", "m"))
        assert wire.response().status == 403
        router.reload({"models": models, "clients": {"team-b": {"token": "b-token"}}})
        wire.send(request("a-token", "m"))
        assert wire.response().status == 401


def test_a_client_is_held_to_its_requests_at_once(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    clients = {"team-a": {"token": "a-token", "maxConcurrent": 1}, "team-b": {"token": "b-token"}}
    backend = start_backend(hold)
    router = start_router({"m": backend}, clients=clients)
    with Wire(router.port) as wire:
        wire.send(request("a-token", "m"))
        backend.arrived.acquire()
        refused = ask(router.port, request("a-token", "m"))
        assert refused.status == 429
        assert refused.headers["retry-after"] == "1"
        error = json.loads(refused.body)["error"]
        assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
        with Wire(router.port) as other:
            other.send(request("b-token", "m"))
            backend.arrived.acquire()
    wait_until(lambda: status(router.port, "a-token", "none") == 404)
    quota = router.server.quotas.get("team-a")
    assert quota is not None
    wait_until(lambda: quota.row[0] == 0)


def form(token: str, model: str, size: int) -> bytes:
    """A form with its field `model` first, of which `size` bytes of a file are yet to come."""
    begun = part(MODEL, model.encode()) + b"--XbX\r\n" + FILE + b"\r\n\r\n"
    return head(len(begun) + size, f"Authorization: Bearer {token}") + begun


def test_forms_are_held_to_models_and_limits(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    clients = {"team-a": {"token": "a-token", "models": ["m"], "maxConcurrent": 1}}
    with Peer() as peer:
        router = start_router({"m": peer.url, "n": peer.url}, clients=clients)
        with Wire(router.port) as wire:
            wire.send(form("a-token", "m", 10_000))
            peer.accept().head()
            with Wire(router.port) as other:
                other.send(form("a-token", "m", 10_000))
                assert other.response().status == 429
        quota = router.server.quotas.get("team-a")
        assert quota is not None
        wait_until(lambda: quota.row[0] == 0)
        for refused in (form("a-token", "n", 9), form("a-token", "m", 9).replace(AUDIO, b"/sleep")):
            with Wire(router.port) as wire:
                wire.send(refused)
                assert wire.response().status == 403


def test_who_was_served_by_a_worker_that_died_has_its_place_again(
    run: Run, start_backend: StartBackend
) -> None:
    backend = start_backend(hold)
    clients = {"team-a": {"token": "a-token", "maxConcurrent": 1}}
    process = run({"models": {"m": {"url": backend.url}}, "clients": clients, "workers": 2})
    with Wire(process.port) as wire:
        wire.send(request("a-token", "m"))
        backend.arrived.acquire()
        assert status(process.port, "a-token", "m") == 429
        for pid in workers(process):
            os.kill(pid, signal.SIGKILL)
        wire.at_end()
    wait_until(lambda: is_served(process.port))
    with Wire(process.port) as wire:
        wire.send(request("a-token", "m"))
        assert backend.arrived.acquire(timeout=TIMEOUT)


def is_served(port: int) -> bool:
    try:
        return ask(port, HEALTH).status == 200
    except (OSError, AssertionError):
        return False


def test_tokens_are_charged_as_they_are_reported(router: RunningRouter) -> None:
    clients = {"team-a": {"token": "a-token", "tokensPerMinute": 20}}
    models = {"m": {"url": str(router.server.config.models["m"].urls[0].origin)}}
    router.reload({"models": models, "clients": clients})
    for expected in (200, 200, 429):  # of 12 tokens each
        assert status(router.port, "a-token", "m") == expected


def test_limits_hold_over_workers(run: Run, start_backend: StartBackend) -> None:
    clients = {"team-a": {"token": "a-token", "requestsPerMinute": 7}}
    models = {"m": {"url": start_backend().url}}
    process = run({"models": models, "clients": clients, "workers": 2})
    found = [status(process.port, "a-token", "m") for _ in range(40)]
    # Unless a minute began on the way.
    assert 7 <= found.count(200) <= 14
    assert found.count(200) + found.count(429) == 40


@pytest.mark.parametrize(
    ("keys", "where", "what"),
    [
        (
            {"clients": {"a": {"token": "t", "maxConcurrent": 0}}},
            "clients.a.maxConcurrent",
            "is out of range",
        ),
        ({"clients": {}}, "clients", "has no client"),
        ({"clients": {"a": {}}}, "clients.a.token", "is missing"),
        ({"clients": {"a b": {"token": "t"}}}, 'clients."a b"', "is no name"),
        ({"clients": {"a": {"token": ""}}}, "clients.a.token", "is empty"),
        ({"clients": {"a": {"tokens": []}}}, "clients.a.tokens", "is an empty list"),
        (
            {"clients": {"a": {"token": "t", "tokens": ["u"]}}},
            "clients.a.token",
            "is given together with tokens",
        ),
        (
            {"clients": {"a": {"token": "t", "paths": ["/slep"]}}},
            "clients.a.paths[0]",
            "is no path that has to be allowed",
        ),
        (
            {"models": {"m": {"url": "http://h", "paths": ["/metrics"]}}},
            "models.m.paths[0]",
            "is no path that has to be allowed",
        ),
        ({"clients": {"a": {"token": "t", "model": []}}}, "clients.a.model", "is not a known key"),
    ],
)
def test_what_is_wrong_with_a_client_is_told_by_its_place(
    keys: dict[str, Any], where: str, what: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check({"models": {"m": {"url": "http://h"}}, **keys})
    assert f"{where}: {what}" in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"clients": {"a": {"token": "same"}, "b": {"token": "same"}}},
        {"clients": {"a": {"tokens": ["same", "same"]}}},
        {"clients": {"a": {"token": "same"}}, "authTokens": ["same"]},
        {"clients": {"a": {"token": "${env:ONE}"}, "b": {"token": "${env:OTHER}"}}},
    ],
)
def test_a_token_has_one_owner(
    keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("ONE", "same")
    monkeypatch.setenv("OTHER", "same")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"models": {"m": {"url": "http://h"}}, **keys}))
    with pytest.raises(ConfigError, match="is the token of") as caught:
        load(path, may_wait=False)
    assert "same" not in str(caught.value)
    check_unread(path)  # which knows no token
