"""Requests with forms, as bytes."""

from __future__ import annotations

from tests.router.support.corpus.forms import FILE, MODEL, part
from tests.router.support.endpoints import HEALTH, RunningRouter, Wire, ask

FORM = "Content-Type: multipart/form-data; boundary=XbX"
PATH = "/v1/audio/transcriptions"
END = b"--XbX--\r\n"
BEGUN = part(MODEL, b"m") + b"--XbX\r\n" + FILE + b"\r\n\r\n"
"""A form whose model is known, and whose file is yet to come."""


def head(length: int | None, *headers: str, path: str = PATH) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {path} HTTP/1.1", "Host: r", FORM, framing, *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunked(*pieces: bytes) -> bytes:
    return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces])


def error_of(wire: Wire) -> tuple[int, object]:
    response = wire.response()
    return response.status, response.error_code


def until_read(router: RunningRouter) -> None:
    """Wait until the router has read what was sent before."""
    assert ask(router.port, HEALTH).status == 200
