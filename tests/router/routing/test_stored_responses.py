"""Requests for responses that an engine has stored, which have no body to name a model in."""

from __future__ import annotations

import pytest
from llmhop.errors import ApiError
from llmhop.http.head import parse_request_head
from llmhop.routing.decision import Route
from llmhop.routing.table import RoutingTable

from tests.router.support.endpoints import check

URL = {"url": "http://127.0.0.1:1"}
LINES = [
    "GET /v1/responses/resp_1",
    "DELETE /v1/responses/resp_1",
    "GET /v1/responses/resp_1/input_items?limit=1",
    "POST /v1/responses/resp_1/cancel",
    "GET /responses/resp_1",
]


def model_of(table: RoutingTable, line: str, body: bytes = b"") -> str:
    fields = ["Host: r", "Authorization: Bearer one"]
    if body:
        fields.append(f"Content-Length: {len(body)}")
    lines = [f"{line} HTTP/1.1", *fields, "", ""]
    head = parse_request_head("\r\n".join(lines).encode())[0]
    decision = table.decide(head, body, table.authorize(head, on_loopback=False))
    assert isinstance(decision, Route)
    return decision.model


def table(*models: str, allowed: list[str] | None = None) -> RoutingTable:
    client = {"token": "one", **({} if allowed is None else {"models": allowed})}
    return RoutingTable(check({"models": dict.fromkeys(models, URL), "clients": {"a": client}}), 0)


@pytest.mark.parametrize("line", LINES)
def test_they_go_to_the_only_model_that_the_client_may_use(line: str) -> None:
    assert model_of(table("m"), line) == "m"
    assert model_of(table("m", "n"), line + ("&" if "?" in line else "?") + "model=n") == "n"
    assert model_of(table("m", "n", allowed=["n"]), line) == "n"


@pytest.mark.parametrize("line", LINES)
def test_of_several_models_one_has_to_be_named(line: str) -> None:
    with pytest.raises(ApiError, match="model=NAME") as caught:
        model_of(table("m", "n"), line)
    assert caught.value.status == 400


@pytest.mark.parametrize("line", ["GET /v1/response/x", "GET /v1/files/x", "POST /v1/responses"])
def test_other_requests_name_their_model(line: str) -> None:
    with pytest.raises(ApiError, match="model"):
        model_of(table("m"), line)


def test_a_body_is_read_as_that_of_any_request() -> None:
    line = "POST /v1/responses/resp_1/cancel"
    assert model_of(table("m", "n"), line, b'{"model":"n"}') == "n"
    with pytest.raises(ApiError, match="model"):
        model_of(table("m"), line, b"{}")
