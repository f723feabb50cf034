"""Where a request names its model beside its body: in `/route/NAME/…` and in `?model=NAME`.

All of it is pure and works on the bytes of a request target that was checked before.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_plus

ROUTE_PREFIX = b"/route/"


class NamedTarget(NamedTuple):
    """The models that a request target names, and the target without the one in the path.

    `in_path` is None where the path has no prefix. A name in the query counts as often as it is
    there. `path` and `query` are what goes on.
    """

    in_path: str | None
    in_query: tuple[str, ...]
    path: bytes
    query: bytes

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, the one that counts first."""
        return self.in_query if self.in_path is None else (self.in_path, *self.in_query)

    def named_in_query(self, model: str) -> bytes:
        """Return the target that goes on, with `model` in place of the names in its query."""
        if any(name != model for name in self.in_query):
            new = b"model=" + quote(model, safe="").encode()
            pairs = self.query.split(b"&")
            query = b"&".join([new if _is_model(pair) else pair for pair in pairs])
        else:
            query = self.query
        return self.path + b"?" + query if query else self.path


def read_target(target: bytes) -> NamedTarget:
    """Find the models that a target in origin form names.

    In the path a name is one segment; its own slashes are written %2F.
    """
    path, _, query = target.partition(b"?")
    in_path = None
    if path.startswith(ROUTE_PREFIX):
        segment, _, rest = path.removeprefix(ROUTE_PREFIX).partition(b"/")
        in_path = unquote(segment.decode("latin-1"), errors="replace")
        path = b"/" + rest
    pairs = query.split(b"&") if b"model" in query or b"%" in query else []
    in_query = tuple(_value(pair) for pair in pairs if _is_model(pair))
    return NamedTarget(in_path, in_query, path, query)


def split_route(path: str) -> tuple[str, str | None]:
    """Split the path of a url that leads to one model of an llmhop, which ends in /route/NAME.

    The name is None, and the path whole, where it does not.
    """
    before, prefix, segment = path.removesuffix("/").rpartition(ROUTE_PREFIX.decode())
    if not prefix or not segment or "/" in segment:
        return path, None
    return before, unquote(segment, errors="replace")


def _is_model(pair: bytes) -> bool:
    key = pair.partition(b"=")[0]
    return key == b"model" or (b"%" in key and unquote(key.decode("latin-1")) == "model")


def _value(pair: bytes) -> str:
    # As form fields are written: a plus stands for a space.
    return unquote_plus(pair.partition(b"=")[2].decode("latin-1"), errors="replace")
