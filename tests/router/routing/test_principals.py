"""Whom a request is from, by its token, and what that one may ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llmhop.config.tables.control_paths import CONTROL_PATHS, find_control_path
from llmhop.errors import ApiError
from llmhop.http.head import parse_request_head
from llmhop.http.parsed_head import RequestHead
from llmhop.routing.decision import ANYONE, Answer, MetricsPage, ReadinessQuery, Route
from llmhop.routing.table import RoutingTable

from tests.router.support.endpoints import check

URL = {"url": "http://127.0.0.1:1"}
CLIENTS: dict[str, Any] = {
    "all": {"token": "all"},
    "some": {"tokens": ["old", "new"], "models": ["m", "hidden"]},
    "none": {"token": "none", "models": []},
    "admin": {"token": "admin", "paths": ["/sleep", "/v1/load_lora_adapter"]},
    "root": {"token": "root", "paths": ["*"]},
    "prometheus": {"token": "prometheus", "models": [], "paths": ["/metrics"]},
}
BODY = b'{"model":"%b"}'


def table(**keys: Any) -> RoutingTable:
    models = {
        "m": URL | {"aliases": ["alias"]},
        "other": URL,
        "hidden": URL | {"unlisted": True},
        "open": URL | {"paths": ["/wake_up"]},
        "wide": URL | {"paths": ["*"]},
    }
    config = check({"models": models, "authTokens": ["t"], "clients": CLIENTS, **keys})
    return RoutingTable(config, 0)


TABLE = table()


def request_head(line: str, *fields: str) -> RequestHead:
    lines = [f"{line} HTTP/1.1", "Host: r", *fields, "", ""]
    return parse_request_head("\r\n".join(lines).encode())[0]


def decide(
    line: str, token: str | None, body: bytes = b"", on: RoutingTable = TABLE
) -> Answer | MetricsPage | ReadinessQuery | Route:
    """What becomes of a request, from its token on."""
    fields = [] if token is None else [f"Authorization: Bearer {token}"]
    head = request_head(line, *fields)
    principal = on.authorize(head, on_loopback=False)
    on.decide_by_head(head, principal)
    return on.decide(head, body, principal)


def refusal(line: str, token: str | None, body: bytes = b"") -> tuple[int, str | None]:
    with pytest.raises(ApiError) as caught:
        decide(line, token, body)
    assert "Bearer" not in str(caught.value) or caught.value.status == 401
    return caught.value.status, caught.value.code


@pytest.mark.parametrize(
    ("token", "name"),
    [("t", ""), ("all", "all"), ("old", "some"), ("new", "some"), ("none", "none")],
)
def test_a_token_tells_whom_a_request_is_from(token: str, name: str) -> None:
    head = request_head("POST /v1/x", f"Authorization: Bearer {token}")
    assert TABLE.authorize(head, on_loopback=False).name == name


@pytest.mark.parametrize("token", [None, "", "other", "some", "oldnew", "OLD"])
def test_what_is_no_token_is_401(token: str | None) -> None:
    assert refusal("POST /v1/x", token, BODY % b"m") == (401, "invalid_api_key")


def test_with_clients_alone_a_token_is_asked_for() -> None:
    on = table(authTokens=[])
    assert on.has_auth
    with pytest.raises(ApiError, match="API key"):
        decide("POST /v1/x", None, BODY % b"m", on)
    assert isinstance(decide("POST /v1/x", "all", BODY % b"m", on), Route)


NAMED = {
    "body": ("POST /v1/chat/completions", True),
    "query": ("POST /v1/chat/completions?model={}", False),
    "path": ("POST /route/{}/v1/chat/completions", False),
    "target and body": ("POST /route/{}/v1/chat/completions?model={}", True),
}


@pytest.mark.parametrize("way", NAMED)
@pytest.mark.parametrize(
    ("model", "allowed"), [("m", True), ("alias", True), ("hidden", True), ("other", False)]
)
def test_a_client_gets_its_models_whatever_names_them(way: str, model: str, allowed: bool) -> None:
    line, in_body = NAMED[way]
    body = BODY % model.encode() if in_body else b""
    if allowed:
        assert isinstance(decide(line.format(model, model), "new", body), Route)
    else:
        assert refusal(line.format(model, model), "new", body) == (403, "model_not_allowed")
    assert isinstance(decide(line.format(model, model), "all", body), Route)
    assert isinstance(decide(line.format(model, model), "t", body), Route)


def test_a_form_is_decided_alike() -> None:
    head = request_head("POST /v1/audio/transcriptions", "Authorization: Bearer new")
    principal = TABLE.authorize(head, on_loopback=False)
    assert TABLE.decide_form(head, "m", principal).model == "m"
    with pytest.raises(ApiError, match="not for that model"):
        TABLE.decide_form(head, "other", principal)
    head = request_head("POST /v1/audio/transcriptions?model=other", "Authorization: Bearer new")
    with pytest.raises(ApiError, match="not for that model"):
        TABLE.decide_by_target(head, principal)


@pytest.mark.parametrize(
    ("token", "names"),
    [
        ("t", ["m", "other", "open", "wide"]),
        ("all", ["m", "other", "open", "wide"]),
        ("new", ["m"]),
        ("none", []),
    ],
)
def test_the_list_has_what_a_client_may_use(token: str, names: list[str]) -> None:
    page = decide("GET /v1/models", token)
    assert isinstance(page, Answer)
    assert [entry["id"] for entry in json.loads(page.body)["data"]] == names


def test_a_model_is_described_to_who_may_use_it() -> None:
    assert isinstance(decide("GET /v1/models/alias", "new"), Answer)
    assert refusal("GET /v1/models/other", "new") == (403, "model_not_allowed")
    assert refusal("GET /v1/models/unknown", "new") == (404, "model_not_found")


@pytest.mark.parametrize(
    ("token", "detailed"), [(None, False), ("t", True), ("all", True), ("new", False)]
)
def test_a_client_that_may_not_use_every_model_does_not_see_their_states(
    token: str | None, detailed: bool
) -> None:
    query = decide("GET /ready", token)
    assert isinstance(query, ReadinessQuery)
    assert query.detailed is detailed


@pytest.mark.parametrize("token", ["t", "root", "prometheus"])
def test_metrics_of_all_are_for_who_may(token: str) -> None:
    assert isinstance(decide("GET /metrics", token), MetricsPage)


@pytest.mark.parametrize("token", ["all", "new", "none", "admin"])
def test_a_client_is_not_shown_what_others_use(token: str) -> None:
    assert refusal("GET /metrics", token) == (403, "path_not_allowed")


def test_the_metrics_of_a_model_are_for_who_may_use_it() -> None:
    assert isinstance(decide("GET /route/m/metrics", "new"), Route)
    assert refusal("GET /route/other/metrics", "new") == (403, "model_not_allowed")


# Each way to write a path that some reader takes for a control path.
SPELLINGS = [
    "{}",
    "{}/",
    "/{}",
    "/.{}",
    "/v1/..{}",
    "/x/%2e%2E{}",
    "{}/.",
    "{}//",
    "/root/path{}",
    "/%2F{}",
    "{}%0A",
    "{}%0a%0D%00%20",
    "{}/%0A",
]


@pytest.mark.parametrize("path", CONTROL_PATHS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_control_path_is_found_however_it_is_written(path: str, spelling: str) -> None:
    for written in (path, path.upper(), path.replace("e", "%65"), path.replace("/", "//")):
        assert find_control_path(spelling.format(written).encode()) == path
    assert find_control_path(path.removeprefix("/v1").encode()) == path


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/metrics", "/health", "/v1", "/v1/models", "/v1/responses/resp_1/cancel"),
        *("/sleeping", "/x-sleep", "/sleep/x", "/sleep%3F", "/tokenize", "/v1/responses"),
        *("/props", "/v1/files/paused", "/load", "/fault_tolerance", "/apply"),
    ],
)
def test_other_paths_are_open(path: str) -> None:
    assert find_control_path(path.encode()) is None


@pytest.mark.parametrize("line", ["POST /route/{}/sleep?level=1", "POST /sleep?model={}"])
def test_control_paths_are_refused_by_default(line: str) -> None:
    for token in ("t", "all", "new"):
        assert refusal(line.format("m"), token) == (403, "path_not_allowed")
    assert refusal("POST /sleep", "t", BODY % b"m") == (403, "path_not_allowed")
    assert refusal(line.format("open"), "t") == (403, "path_not_allowed")


@pytest.mark.parametrize(
    ("path", "model", "token", "allowed"),
    [
        ("sleep", "m", "admin", True),
        ("wake_up", "m", "admin", False),
        ("load_lora_adapter", "m", "admin", True),
        ("v1/load_lora_adapter", "m", "admin", True),
        ("v1/unload_lora_adapter", "m", "admin", False),
        ("collective_rpc", "m", "root", True),
        ("wake_up", "open", "t", True),
        ("wake_up", "open", "all", True),
        ("sleep", "open", "all", False),
        ("collective_rpc", "wide", "all", True),
        ("collective_rpc", "wide", "t", True),
    ],
)
def test_paths_open_more(path: str, model: str, token: str, allowed: bool) -> None:
    line = f"POST /route/{model}/{path}"
    if allowed:
        assert isinstance(decide(line, token), Route)
    else:
        assert refusal(line, token) == (403, "path_not_allowed")


@pytest.mark.parametrize("token", ["new", "all", "root"])
@pytest.mark.parametrize("prefix", ["route", "%72oute", "ROUTE", "route%0A"])
def test_a_path_leads_to_no_model_of_an_llmhop_behind(prefix: str, token: str) -> None:
    line = f"POST /route/m/{prefix}/secret/v1/x"
    assert refusal(line, token) == (403, "path_not_allowed")


def test_what_a_client_may_do_is_no_way_to_models_of_others() -> None:
    assert refusal("POST /route/m/sleep", "none") == (403, "model_not_allowed")


def test_without_tokens_control_paths_are_refused_too() -> None:
    on = RoutingTable(check({"models": {"m": URL}}), 0)
    head = request_head("POST /route/m/sleep")
    assert on.authorize(head, on_loopback=False) is ANYONE
    with pytest.raises(ApiError, match="'/sleep'"):
        on.decide(head, b"", ANYONE)
