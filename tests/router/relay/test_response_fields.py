"""What goes on of a response's header fields, and what stops here: in any kind of response."""

from __future__ import annotations

import asyncio

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.response_fields import RESPONSE_FIELDS
from tests.router.support.endpoints import Received, Wire, chat, post

DATE = b"Date: Sat, 28 Nov 2026 10:00:00 GMT"
ID = b"X-Request-Id: mine"
LENGTH = b"Content-Length: 2"
CHUNKED = b"Transfer-Encoding: chunked"
CLOSE = b"Connection: close"

# The status, the backend's framing and body, what llmhop frames by; a HEAD where asked so.
KINDS: dict[str, tuple[bytes, list[bytes], bytes, list[bytes]]] = {
    "a length": (b"200 OK", [LENGTH], b"ok", [LENGTH]),
    "an error": (b"503 Busy", [LENGTH], b"no", [LENGTH]),
    "chunks": (b"200 OK", [CHUNKED], b"2\r\nok\r\n0\r\n\r\n", [CHUNKED]),
    "the end of the connection": (b"200 OK", [], b"ok", [CLOSE]),
    "no content": (b"204 No Content", [], b"", []),
    "no content, with a length": (b"204 No Content", [LENGTH], b"", []),
    "not modified": (b"304 Not Modified", [LENGTH], b"", [LENGTH]),
    "to a HEAD": (b"200 OK", [LENGTH], b"", [LENGTH]),
}


@pytest.mark.parametrize(("sent", "kept"), RESPONSE_FIELDS.values(), ids=RESPONSE_FIELDS.keys())
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_parts", [False, True], ids=["at once", "in parts"])
def test_the_client_gets_what_is_not_of_the_backend_s_connection(
    sent: list[bytes],
    kept: list[bytes],
    kind: str,
    in_parts: bool,
    start_backend: StartBackend,
    start_router: StartRouter,
) -> None:
    status, framing, body, framed = KINDS[kind]
    head = b"\r\n".join([b"HTTP/1.1 " + status, *sent, DATE, *framing, b"", b""])

    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        for part in (head[:-9], head[-9:] + body) if in_parts else (head + body,):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if CLOSE in framed:
            writer.close()

    router = start_router({"m": start_backend(respond)})
    method = b"HEAD" if kind == "to a HEAD" else b"POST"
    own = [b"Vary: Origin", ID] if method == b"HEAD" else [ID]
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", ID.decode()).replace(b"POST", method, 1))
        assert lines(wire) == [b"HTTP/1.1 " + status, *kept, DATE, *own, *framed]
        assert wire.file.read(len(body)) == body


@pytest.mark.parametrize(("sent", "kept"), RESPONSE_FIELDS.values(), ids=RESPONSE_FIELDS.keys())
def test_an_interim_response_loses_the_same_fields(
    sent: list[bytes], kept: list[bytes], start_backend: StartBackend, start_router: StartRouter
) -> None:
    hints = b"\r\n".join([b"HTTP/1.1 103 Early Hints", *sent, b"", b""])

    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(hints + b"\r\n".join([b"HTTP/1.1 200 OK", DATE, LENGTH, b"", b"ok"]))

    router = start_router({"m": start_backend(respond)})
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", ID.decode()))
        assert lines(wire) == [b"HTTP/1.1 103 Early Hints", *kept]
        assert lines(wire) == [b"HTTP/1.1 200 OK", DATE, ID, LENGTH]
        assert wire.file.read(2) == b"ok"


def lines(wire: Wire) -> list[bytes]:
    """The lines of the next head."""
    found = []
    while line := wire.file.readline().removesuffix(b"\r\n"):
        found.append(line)
    return found
