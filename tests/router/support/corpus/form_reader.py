"""What readers behind llmhop take a form for: vLLM's, Flask's and Django's."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from python_multipart.multipart import MultipartParser, parse_options_header
from werkzeug.sansio.multipart import Data, Field, File, MultipartDecoder, NeedData

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


def as_flask(raw: bytes, boundary: bytes = BOUNDARY) -> list[Part]:
    """The parts as Werkzeug reads them, and so Flask. Raises ValueError where it does."""
    decoder = MultipartDecoder(boundary)
    decoder.receive_data(raw)
    decoder.receive_data(None)
    parts: list[Part] = []
    while not isinstance(event := decoder.next_event(), NeedData) and decoder.state.name != (
        "COMPLETE"
    ):
        if isinstance(event, Field | File):
            # A part without a name has None.
            parts.append(Part((event.name or "").encode(), isinstance(event, File), b""))
        elif isinstance(event, Data):
            parts[-1] = parts[-1]._replace(value=parts[-1].value + event.data)
    return parts


def as_django(raw: bytes, boundary: bytes = BOUNDARY) -> list[Part]:
    """The parts as Django reads them, by the rule of its MultiPartParser.

    Its BoundaryIter looks for the boundary anywhere, and takes an LF before it away, and a CR
    before that (django/http/multipartparser.py, 5.2).
    """
    parts: list[Part] = []
    *pieces, _ = raw.split(b"--" + boundary)
    for piece in pieces:
        content = piece.removesuffix(b"\n").removesuffix(b"\r")
        head, blank, value = content.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n") if blank else []:
            name, _, disposition = line.partition(b":")
            if name.strip().lower() == b"content-disposition":
                _, options = parse_options_header(disposition)
                parts.append(Part(options.get(b"name", b""), bool(options.get(b"filename")), value))
    return parts


def models_read(raw: bytes) -> dict[str, list[bytes]]:
    """The values of the field `model`, by who reads them; who refuses the form is left out."""
    found = {}
    for reader in (as_starlette, as_flask, as_django):
        with suppress(ValueError):
            found[reader.__name__] = [
                part.value for part in reader(raw) if part.name == b"model" and not part.is_file
            ]
    return found
