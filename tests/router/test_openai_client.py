"""The `openai` client against a running router, with an engine of its own behind it."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import Received

WORDS = ["One ", "port, ", "many ", "models."]


async def engine(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer chat completions as vLLM does, streamed or whole."""
    asked = json.loads(request.body)
    common = {"id": "chatcmpl-1", "created": 1, "model": asked["model"]}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "".join(WORDS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({**common, "object": "chat.completion", "choices": [choice]}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        return
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for word in WORDS:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        event = {**common, "object": "chat.completion.chunk", "choices": [choice]}
        data = b"data: %b\n\n" % json.dumps(event).encode()
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def test_chat_and_streamed_chat_by_model(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    first, second = start_backend(engine), start_backend(engine)
    router = start_router({"a": first, "org/b": second}, authTokens=["right"])
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="right", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["a", "org/b"]
        assert client.models.retrieve("org/b").owned_by == "llmhop"
        for model, backend in (("a", first), ("org/b", second)):
            answer = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hi"}]
            )
            assert answer.model == model
            assert answer.choices[0].message.content == "".join(WORDS)
            stream = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            assert [event.choices[0].delta.content for event in stream] == WORDS
            assert [request.line for request in backend.requests] == [
                "POST /v1/chat/completions HTTP/1.1"
            ] * 2
            assert backend.connections == 1


def test_async_streams_side_by_side(start_backend: StartBackend, start_router: StartRouter) -> None:
    backend = start_backend(engine)
    router = start_router({"m": backend})

    async def ask(client: openai.AsyncOpenAI) -> list[str | None]:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        return [event.choices[0].delta.content async for event in stream]

    async def ask_all() -> list[list[str | None]]:
        async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="x") as client:
            return await asyncio.gather(*(ask(client) for _ in range(20)))

    assert asyncio.run(ask_all()) == [WORDS] * 20


def test_errors_are_the_clients_own_exceptions(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(engine)
    router = start_router({"m": backend, "down": "http://127.0.0.1:1"}, authTokens=["right"])
    base_url = f"{router.url}/v1"
    with openai.OpenAI(base_url=base_url, api_key="right", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError) as not_found:
            client.chat.completions.create(model="no", messages=[])
        assert (not_found.value.code, not_found.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.InternalServerError) as down:
            client.chat.completions.create(model="down", messages=[])
        assert (down.value.status_code, down.value.code) == (503, "backend_unavailable")
    with (
        openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model="m", messages=[])
    assert backend.requests == []
