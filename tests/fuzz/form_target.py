"""What fuzzing checks of forms: Starlette, Flask and Django read the same."""

from __future__ import annotations

from llmhop.errors import ApiError
from llmhop.http.body.multipart import FormReader

from tests.fuzz.reading import pieces_of
from tests.router.support.corpus.form_reader import as_starlette, models_read
from tests.router.support.corpus.forms import BOUNDARY

_NEW = b"the/new=name"


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
    for values in models_read(raw).values():
        assert [value.decode() for value in values] == models, "a backend reads another model"
    before, after = as_starlette(raw), as_starlette(out)
    named = [part for part in before if part.name == b"model" and not part.is_file]
    assert [part.value.decode() for part in named] == models, "the backend reads another model"
    expected = [part._replace(value=_NEW) if part in named else part for part in before]
    assert after == expected, "more than the model was changed"
