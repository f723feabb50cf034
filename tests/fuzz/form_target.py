"""What fuzzing checks of forms: python-multipart, which Starlette uses, reads the same."""

from __future__ import annotations

from typing import NamedTuple

from llmhop.errors import ApiError
from llmhop.multipart import FormReader
from python_multipart.multipart import MultipartParser, parse_options_header

from tests.fuzz.reading import pieces_of

BOUNDARY = b"XbX"
_NEW = b"the/new=name"


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


def _read_elsewhere(raw: bytes) -> list[Part]:
    reading = _Reading()
    parser = MultipartParser(
        BOUNDARY,
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


def _read(pieces: list[bytes]) -> tuple[bytes, list[str], bool] | None:
    models: list[str] = []

    def found(model: str) -> bytes:
        models.append(model)
        return _NEW

    reader = FormReader(BOUNDARY, found)
    out = b""
    try:
        for piece in pieces:
            out += b"".join(reader.feed(piece))
    except ApiError:
        return None
    return out, models, reader.complete


def forms(data: bytes) -> None:
    """A form: one outcome in any pieces, and the backend reads the model that llmhop read."""
    size, raw = ord(data[:1] or b"\0"), data[2:]
    found = _read([raw])
    assert found == _read(pieces_of(raw, size)), "the pieces change the outcome"
    if found is None or not found[2]:
        return
    out, models, _ = found
    before, after = _read_elsewhere(raw), _read_elsewhere(out)
    named = [part for part in before if part.name == b"model" and not part.is_file]
    assert [part.value.decode() for part in named] == models, "the backend reads another model"
    expected = [part._replace(value=_NEW) if part in named else part for part in before]
    assert after == expected, "more than the model was changed"
