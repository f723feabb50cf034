"""What the readers behind llmhop take a JSON body's model for: vLLM's, and others'."""

from __future__ import annotations

import json
import re
from typing import Any


class _Object(list[tuple[str, Any]]):
    """The members of a JSON object, in order."""


def as_python(body: bytes) -> Any:
    """As json.loads, which vLLM uses: the last of equal keys. Raises ValueError, RecursionError."""
    read = json.loads(body)
    return read.get("model") if isinstance(read, dict) else None


def _members(body: bytes) -> _Object:
    """Read the first JSON value, and nothing after it, as Go's json.Decoder does."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")

    def refuse(constant: str) -> float:
        raise ValueError(constant)

    decoder = json.JSONDecoder(object_pairs_hook=_Object, parse_constant=refuse)
    value, _ = decoder.raw_decode(text)
    return value if isinstance(value, _Object) else _Object()


def as_go(body: bytes) -> Any:
    """As encoding/json into a struct: keys in any case, the last one, null changes nothing.

    Raises ValueError, RecursionError.
    """
    found = None
    for key, value in _members(body):
        if key.lower() == "model" and value is not None:
            if not isinstance(value, str):
                raise ValueError("not a string")
            found = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return found


def as_first(body: bytes) -> Any:
    """As readers that stop at the first member of a name. Raises ValueError, RecursionError."""
    return next((value for key, value in _members(body) if key == "model"), None)


def as_lenient(body: bytes) -> Any:
    """As who passes over what no string of JSON may hold. Raises ValueError, RecursionError."""
    if not re.match(rb"[ \t\r\n]*(?:\xef\xbb\xbf)?\{", body):
        raise ValueError("no object")
    text = re.sub(r'\\([^"\\/bfnrtu])', r"\1", body.decode("utf-8", "ignore"))
    text = re.sub(r"[\0-\x08\x0b\x0c\x0e-\x1f]", "", text)
    found = None
    for key, value in _members(text.encode("utf-8", "surrogatepass")):
        if key.lower() == "model":
            found = value
    return found


READERS = (as_python, as_go, as_first, as_lenient)


def models_read(body: bytes) -> set[str]:
    """The models that any reader would serve."""
    found = set()
    for reader in READERS:
        try:
            model = reader(body)
        except (ValueError, RecursionError):
            continue
        if isinstance(model, str):
            found.add(model)
    return found
