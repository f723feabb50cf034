"""The `anthropic` client against a running router, with an engine of its own behind it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import Received, Wire, ask

WORDS = ["One ", "port, ", "many ", "models."]
HI: Any = [{"role": "user", "content": "Hi"}]
CLIENTS = {"team-a": {"token": "right", "models": ["qwen"]}}
OF_ANTHROPIC = {"type", "error", "request_id"}
GONE = "http://127.0.0.1:1"


def events(model: str) -> list[dict[str, Any]]:
    """What vLLM sends for a message that is streamed."""
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 0},
    }  # fmt: skip
    return [
        {"type": "message_start", "message": message},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        *[
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": word},
            }
            for word in WORDS
        ],
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 4},
        },
        {"type": "message_stop"},
    ]


async def engine(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer messages as vLLM does, streamed or whole."""
    asked = json.loads(request.body)
    first, *rest = events(asked["model"])
    if not asked.get("stream"):
        content = [{"type": "text", "text": "".join(WORDS)}]
        body = json.dumps({**first["message"], "content": content}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        return
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for event in (first, *rest):
        data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


@pytest.mark.parametrize("token", ["api_key", "auth_token"])
def test_messages_whole_and_streamed_by_either_token(
    start_backend: StartBackend, start_router: StartRouter, token: str
) -> None:
    backend = start_backend(engine)
    models = {"qwen": {"url": backend.url, "aliases": ["claude-*"]}}
    router = start_router(models, clients=CLIENTS)
    keys: dict[str, Any] = {"api_key": None, "auth_token": None, token: "right"}
    with anthropic.Anthropic(base_url=router.url, max_retries=0, **keys) as client:
        for model in ("qwen", "claude-haiku-4-5-20251001"):
            answer = client.messages.create(model=model, max_tokens=9, messages=HI)
            assert answer.model == "qwen"
            assert answer.content[0].type == "text"
            assert answer.content[0].text == "".join(WORDS)
            with client.messages.stream(model=model, max_tokens=9, messages=HI) as stream:
                assert list(stream.text_stream) == WORDS
    assert {json.loads(request.body)["model"] for request in backend.requests} == {"qwen"}
    assert {request.line for request in backend.requests} == {"POST /v1/messages HTTP/1.1"}
    for request in backend.requests:
        assert not request.values("x-api-key") + request.values("authorization")


def test_models_are_listed_as_that_client_reads_them(start_router: StartRouter) -> None:
    router = start_router({"qwen": GONE, "other": GONE}, clients=CLIENTS, authTokens=["all"])
    with anthropic.Anthropic(base_url=router.url, api_key="all") as client:
        assert [model.id for model in client.models.list()] == ["qwen", "other"]
        assert client.models.retrieve("other").created_at.year > 2000
    with anthropic.Anthropic(base_url=router.url, api_key="right") as client:
        assert [model.display_name for model in client.models.list()] == ["qwen"]


def test_errors_are_those_that_the_client_knows(start_router: StartRouter) -> None:
    router = start_router({"qwen": GONE, "other": GONE}, clients=CLIENTS)
    with anthropic.Anthropic(base_url=router.url, api_key="right", max_retries=0) as client:

        def refusal(model: str) -> tuple[type[Exception], str]:
            with pytest.raises(anthropic.APIStatusError) as caught:
                client.messages.create(model=model, max_tokens=9, messages=HI)
            body: Any = caught.value.body
            assert body["type"] == "error"
            assert body["request_id"]
            return type(caught.value), body["error"]["type"]

        assert refusal("none") == (anthropic.NotFoundError, "not_found_error")
        assert refusal("other") == (anthropic.PermissionDeniedError, "permission_error")
        kind, text = refusal("qwen")
        assert issubclass(kind, anthropic.APIStatusError)
        assert text == "overloaded_error"
        client.api_key = "wrong"
        assert refusal("qwen") == (anthropic.AuthenticationError, "authentication_error")


def test_others_get_errors_as_openai_has_them(start_router: StartRouter) -> None:
    router = start_router({"qwen": GONE}, clients=CLIENTS)
    for line, fields, shape in (
        ("GET /v1/models/none", "", {"error"}),
        (
            "GET /v1/models/none",
            "anthropic-version: 2023-06-01\r\n",
            {"type", "error", "request_id"},
        ),
        ("GET /route/none/v1/messages", "", {"type", "error", "request_id"}),
        ("GET /route/none/v1/chat/completions", "", {"error"}),
    ):
        head = f"{line} HTTP/1.1\r\nHost: r\r\n{fields}Authorization: Bearer right\r\n\r\n"
        response = ask(router.port, head.encode())
        assert response.status == 404
        assert json.loads(response.body).keys() == shape


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["x-api-key: right"], 200),
        (["X-Api-Key: right", "Authorization: Bearer wrong"], 401),
        (["x-api-key: wrong", "Authorization: Bearer right"], 200),
        (["x-api-key: right", "Authorization: Basic eDp5"], 200),
        (["x-api-key: right", "x-api-key: right"], 401),
        (["x-api-key:"], 401),
        (["x_api_key: right"], 401),
    ],
)
def test_a_bearer_counts_beside_a_key(
    start_backend: StartBackend, start_router: StartRouter, fields: list[str], status: int
) -> None:
    backend = start_backend()
    router = start_router({"qwen": backend}, clients=CLIENTS)
    lines = ["GET /route/qwen/v1/x HTTP/1.1", "Host: r", *fields, "", ""]
    with Wire(router.port) as wire:
        wire.send("\r\n".join(lines).encode())
        assert wire.response().status == status
    for request in backend.requests:
        assert b"right" not in request.head
        assert b"wrong" not in request.head


def test_without_tokens_both_go_on_and_headers_take_their_place(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    plain, own = start_backend(), start_backend()
    headers = {"X-Api-Key": "own"}
    router = start_router({"plain": plain, "own": {"url": own.url, "headers": headers}})
    for model in ("plain", "own"):
        lines = [f"GET /route/{model}/v1/x HTTP/1.1", "Host: r", "x-api-key: a"]
        head = "\r\n".join([*lines, "Authorization: Bearer b", "", ""])
        assert ask(router.port, head.encode()).status == 200
    assert plain.requests[0].values("x-api-key") == ["a"]
    assert plain.requests[0].values("authorization") == ["Bearer b"]
    assert own.requests[0].values("x-api-key") == ["own"]
    assert own.requests[0].values("authorization") == []
