"""curl and aiohttp against a running router. openai has test_openai_client."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import TIMEOUT, Received, chat

EVENTS = [b"data: %d\n\n" % number for number in range(5)]


async def stream(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with events, as engines do."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for event in EVENTS:
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


def curl(*arguments: str) -> str:
    """What curl prints. Fails where curl does, as for a response that breaks off."""
    command = ["curl", "--silent", "--show-error", "--max-time", str(int(TIMEOUT)), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("options", "connects"),
    [
        (["--http1.1"], ["1", "0", "0"]),
        (["--http1.1", "-H", "Connection: close"], ["1", "1", "1"]),
        (["--http1.0"], ["1", "1", "1"]),
        # curl asks whether the server can speak HTTP/2 in clear text, and is not answered.
        (["--http2"], ["1", "0", "0"]),
    ],
)
def test_curl_keeps_its_connection_where_it_may(
    options: list[str], connects: list[str], start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    said = r"%{stderr}%{num_connects} %{http_code}\n"
    command = ["curl", "--silent", *options, "--data", chat().decode(), "--write-out", said]
    urls = [f"{router.url}/v1/{number}" for number in range(3)]
    done = subprocess.run([*command, *urls], check=True, capture_output=True, text=True)
    assert done.stdout == chat().decode() * 3
    assert done.stderr.splitlines() == [f"{number} 200" for number in connects]
    assert [request.line for request in backend.requests] == [
        f"POST /v1/{number} HTTP/1.1" for number in range(3)
    ]
    assert backend.connections == 1


@pytest.mark.parametrize("options", [["--http1.1"], ["--http1.0"]])
def test_curl_reads_a_stream_to_its_end(
    options: list[str], start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend(stream)})
    url = f"{router.url}/v1/chat/completions"
    found = curl(*options, "--no-buffer", "--data", chat().decode(), url)
    assert found.encode() == b"".join(EVENTS)


@pytest.mark.parametrize("options", [[], ["-H", "Transfer-Encoding: chunked"]])
def test_curl_sends_a_large_body_and_waits_for_100_continue(
    options: list[str], tmp_path: Path, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    body = chat() + b" " * 3_000_000
    (tmp_path / "body").write_bytes(body)
    # So long that a test which waits for it in vain fails.
    expect = ["-H", "Expect: 100-continue", "--expect100-timeout", str(2 * TIMEOUT)]
    sent = ["--data-binary", f"@{tmp_path}/body", f"{router.url}/v1/x"]
    typed = ["-H", "Content-Type: application/json"]
    assert curl("--http1.1", *expect, *options, *typed, *sent).encode() == body
    assert backend.requests[0].body == body
    # What curl calls a form where nothing is said is read as one, too.
    assert "such as application/json" in curl("--http1.1", *expect, *options, *sent)


def test_curl_gets_the_head_of_what_llmhop_answers(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"})
    lines = curl("--http1.1", "--head", f"{router.url}/v1/models").splitlines()
    assert lines[0].startswith("HTTP/1.1 200")
    length = len(curl("--http1.1", f"{router.url}/v1/models"))
    assert f"Content-Length: {length}" in lines


def test_aiohttp_asks_many_things_at_once_on_few_connections(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backends = {name: start_backend() for name in ("a", "b")}
    router = start_router(dict(backends))

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        body = chat("ab"[number % 2]) + b" " * number
        async with session.post(f"{router.url}/v1/x", data=body) as response:
            assert response.status == 200
            assert await response.read() == body

    async def ask_all() -> None:
        connector = aiohttp.TCPConnector(limit=8)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(ask(session, number) for number in range(200)))

    asyncio.run(ask_all())
    for backend in backends.values():
        assert len(backend.requests) == 100
        assert backend.connections <= 8


def test_aiohttp_sends_chunks_and_reads_events(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(stream)
    router = start_router({"m": backend})

    async def pieces() -> AsyncIterator[bytes]:
        for byte in chat():
            yield bytes([byte])
            await asyncio.sleep(0)

    async def ask() -> list[bytes]:
        url = f"{router.url}/v1/x"
        async with aiohttp.ClientSession() as session, session.post(url, data=pieces()) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            return [line async for line in response.content if line != b"\n"]

    assert asyncio.run(ask()) == [event[:-1] for event in EVENTS]
    assert backend.requests[0].body == chat()


def test_aiohttp_sees_a_stream_that_broke_off_as_broken(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    async def half(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await writer.drain()
        writer.close()

    router = start_router({"m": start_backend(half)})

    async def ask() -> None:
        url = f"{router.url}/v1/x"
        async with aiohttp.ClientSession() as session, session.post(url, data=chat()) as response:
            assert response.status == 200
            await response.read()

    with pytest.raises(aiohttp.ClientPayloadError):
        asyncio.run(ask())
