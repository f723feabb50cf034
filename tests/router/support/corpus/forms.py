"""Forms as bytes, of parts that are given."""

from __future__ import annotations

BOUNDARY = b"XbX"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav'
MODEL = b'Content-Disposition: form-data; name="model"'
SOUND = b"RIFF\r\n--X\r\n\r\n--Xb\r\n-\r\r\n\x00\xff"


def part(head: bytes, value: bytes) -> bytes:
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: tuple[bytes, bytes], end: bytes = b"--" + BOUNDARY + b"--\r\n") -> bytes:
    return b"".join([part(*one) for one in parts]) + end
