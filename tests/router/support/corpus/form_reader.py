"""What the reader behind llmhop takes a form for: vLLM's."""

from __future__ import annotations

from typing import NamedTuple

from python_multipart.multipart import MultipartParser, parse_options_header

from tests.router.support.corpus.forms import BOUNDARY


class Part(NamedTuple):
    """A part of a form, as a backend reads it."""

    name: bytes
    is_file: bool
    value: bytes


class _Reading:
    """Collects what python-multipart calls back."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._name = self._value = self._disposition = self._data = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def on_part_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        self.parts.append(Part(options[b"name"], b"filename" in options, self._data))
        self._disposition = self._data = b""


def as_starlette(raw: bytes, boundary: bytes = BOUNDARY) -> list[Part]:
    """The parts as vLLM's framework reads them, which uses python-multipart."""
    reading = _Reading()
    parser = MultipartParser(
        boundary,
        {
            "on_header_field": reading.on_header_field,
            "on_header_value": reading.on_header_value,
            "on_header_end": reading.on_header_end,
            "on_part_data": reading.on_part_data,
            "on_part_end": reading.on_part_end,
        },
    )
    assert parser.write(raw) == len(raw)
    parser.finalize()
    return reading.parts
