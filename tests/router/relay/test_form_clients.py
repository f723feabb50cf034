"""Real clients that upload files: openai, curl and aiohttp, against an engine that reads forms."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import aiohttp
import openai
import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.form_reader import as_starlette
from tests.router.support.corpus.form_requests import BEGUN, END, chunked, head
from tests.router.support.endpoints import TIMEOUT, Received, Wire
from tests.router.support.process import Run

SOUND = os.urandom(300_000)


async def transcribe(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with what a backend's parser finds in the form: fields, and the sizes of files."""
    body = request.body
    if request.values("transfer-encoding") == ["chunked"]:
        body = b""
        while size := int(await request.reader.readline(), 16):
            body += (await request.reader.readexactly(size + 2))[:-2]
        await request.reader.readexactly(2)
    (content_type,) = request.values("content-type")
    boundary = content_type.partition("boundary=")[2].encode()
    found = {
        name.decode(): len(value) if is_file else value.decode()
        for name, is_file, value in as_starlette(body, boundary)
    }
    answer = json.dumps({"text": json.dumps(found)}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(answer) + answer)


def test_openai_transcribes_and_edits_by_model(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend, other = start_backend(transcribe), start_backend(transcribe)
    models = {"whisper": {"url": backend.url, "aliases": ["whisper-1"]}, "o": {"url": other.url}}
    router = start_router({}, models=models, authTokens=["k"])
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="k", max_retries=0) as client:
        for model in ("whisper", "whisper-1"):
            heard = client.audio.transcriptions.create(model=model, file=("a.wav", SOUND))
            assert json.loads(heard.text) == {"model": "whisper", "file": len(SOUND)}
        client.images.edit(model="o", image=("a.png", SOUND), prompt="x")
        with pytest.raises(openai.NotFoundError):
            client.audio.transcriptions.create(model="no", file=("a.wav", SOUND))
    assert [request.line.split()[1] for request in (*backend.requests, *other.requests)] == [
        "/v1/audio/transcriptions",
        "/v1/audio/transcriptions",
        "/v1/images/edits",
    ]


@pytest.mark.parametrize("model_first", [True, False])
@pytest.mark.parametrize("header", ["Expect: 100-continue", "Transfer-Encoding: chunked", "A: b"])
def test_curl_uploads_with_its_fields_in_any_order(
    start_backend: StartBackend,
    start_router: StartRouter,
    tmp_path: Path,
    model_first: bool,
    header: str,
) -> None:
    router = start_router({"m": start_backend(transcribe)})
    file = tmp_path / "a.wav"
    file.write_bytes(SOUND)
    fields = ["-F", "model=m", "-F", f"file=@{file}"]
    command = ["curl", "--http1.1", "--silent", "--show-error", "--fail", "-H", header]
    upload = [*(fields if model_first else fields[2:] + fields[:2]), f"{router.url}/v1/x"]
    # Twice, over one connection.
    done = subprocess.run(
        [*command, *upload, "--next", *command[1:], *upload],
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    decoder, rest, answers = json.JSONDecoder(), done.stdout.decode(), []
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(json.loads(answer["text"]))
        rest = rest[end:]
    assert answers == [{"model": "m", "file": len(SOUND)}] * 2


def test_aiohttp_uploads_from_a_stream(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend(transcribe)})

    async def upload() -> object:
        form = aiohttp.FormData()
        form.add_field("model", "m")
        async with aiohttp.ClientSession() as session:

            async def sound() -> object:
                for at in range(0, len(SOUND), 10_000):
                    yield SOUND[at : at + 10_000]

            form.add_field("file", sound(), filename='a "b".wav', content_type="audio/wav")
            async with session.post(f"{router.url}/v1/audio/transcriptions", data=form) as answer:
                return json.loads((await answer.json())["text"])

    assert asyncio.run(upload()) == {"model": "m", "file": len(SOUND)}


def test_memory_stays_flat_while_300_mb_go_through(start_backend: StartBackend, run: Run) -> None:
    size = 300_000_000

    async def take(request: Received, writer: asyncio.StreamWriter) -> None:
        left = size
        while left:
            left -= len(await request.reader.read(min(left, 1 << 20)))
        await request.reader.readuntil(b"\r\n0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    backend = start_backend(take)
    process = run({"models": {"m": {"url": backend.url}}, "maxBodyBytes": 400_000_000})
    before = process.memory()
    block = b"x" * 1_000_000
    with Wire(process.port) as wire:
        wire.send(head(None) + chunked(BEGUN))
        for _ in range(size // len(block)):
            wire.send(chunked(block))
        wire.send(chunked(b"\r\n" + END) + b"0\r\n\r\n")
        assert wire.response().body == b"{}"
    grown = process.memory("VmHWM") - before
    assert grown < 8_000_000
