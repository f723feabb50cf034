"""What paths and queries mean: of requests, and of the urls of backends.

A request names its model beside its body in `/route/NAME/…` and in `?model=NAME`; a url leads to
one model of another llmhop where it ends in `/route/NAME`. A base URL without `/v1`, or with a
slash at its end, makes other paths of llmhop's and of OpenAI's.

All of it is pure. Request targets were checked before.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from llmhop.config.backend_url import BackendUrl
from llmhop.http.body.urlencoded import Field, decode_name, find_fields

ROUTE_PREFIX = b"/route/"
MODELS_PATH = b"/v1/models"
HEALTH_PATH = b"/health"
READY_PATH = b"/ready"
METRICS_PATH = b"/metrics"
READING = (b"GET", b"HEAD")
_VERSION = b"/v1"
_ENDS_IN_VERSION = re.compile(r"/v1/?\Z")
_MODELS = b"/models"
# Engines have nothing else there. /completions and /embeddings stay as they are: llama.cpp and
# Infinity have their own. So does what lies below /models or is sent to it: llama.cpp loads a model
# by POST /models/load, LocalAI adds one by POST /models/apply.
_OF_OPENAI = re.compile(rb"/(?:responses|chat/completions|audio|images)(?:[/?].*+)?", re.DOTALL)
_LIST = re.compile(rb"/models(?:\?.*+)?", re.DOTALL)


class NamedTarget(NamedTuple):
    """The models that a request target names, and the target without the one in the path.

    `in_path` is None where the path has no prefix. A name in the query counts as often as it is
    there. `path` and `query` are what goes on.
    """

    in_path: str | None
    in_query: list[Field]
    path: bytes
    query: bytes

    @property
    def names(self) -> list[str]:
        """Every name, the one that counts first."""
        names = [field.value for field in self.in_query]
        return names if self.in_path is None else [self.in_path, *names]

    def named_in_query(self, model: str) -> bytes:
        """Return the target that goes on, with `model` in place of the names in its query."""
        query = self.query
        if any(field.value != model for field in self.in_query):
            spans = [field.span for field in self.in_query if field.span is not None]
            ends = [0, *[end for _, end in spans]]
            starts = [*[start for start, _ in spans], len(query)]
            between = [query[end:start] for end, start in zip(ends, starts, strict=True)]
            query = quote(model, safe="").encode().join(between)
        return self.path + b"?" + query if query else self.path


def read_target(target: bytes) -> NamedTarget:
    """Find the models that a target in origin form names. Raises ApiError (400).

    In the path a name is one segment; its own slashes are written %2F.
    """
    path, _, query = target.partition(b"?")
    in_path = None
    if path.startswith(ROUTE_PREFIX):
        segment, _, rest = path.removeprefix(ROUTE_PREFIX).partition(b"/")
        in_path = decode_name(segment)
        path = b"/" + rest.lstrip(b"/")  # as in /route/s3://x, whose slashes were kept
    return NamedTarget(in_path, find_fields(query) if query else [], path, query)


def own_path(path: bytes) -> bytes:
    """Return the path of llmhop's own page that `path` means, where it means one."""
    path = path.removesuffix(b"/")
    return _VERSION + path if path == _MODELS or path.startswith(_MODELS + b"/") else path


def is_own(method: bytes, path: bytes) -> bool:
    """Whether a page of llmhop's own is asked for."""
    path = own_path(path)
    return method in READING and (
        path in (HEALTH_PATH, READY_PATH, METRICS_PATH, MODELS_PATH)
        or path.startswith(MODELS_PATH + b"/")
    )


def is_of_stored_response(path: bytes) -> bool:
    """Whether a response is asked for, deleted or cancelled that an engine has stored.

    Those of OpenAI's Responses API have no body, and so no model.
    """
    return path.removeprefix(_VERSION).startswith(b"/responses/")


def backend_target(url: BackendUrl, method: bytes, target: bytes) -> bytes:
    """Return what a backend is asked for: a path of OpenAI's that lacks its `/v1` gets it.

    Clients with such a base URL work with LiteLLM and llama.cpp, too. Not where the backend's URL
    has a path or is https, as a provider's: some have their API without `/v1`. Where that URL
    ends in `/v1`, as providers write theirs, a path that begins with it has it once.
    """
    if url.path and target.startswith(_VERSION) and _ENDS_IN_VERSION.search(url.path):
        rest = target.removeprefix(_VERSION)
        if not rest or rest.startswith((b"/", b"?")):
            return url.target(rest)
    elif not (url.path or url.origin.tls) and (
        _OF_OPENAI.fullmatch(target) or (method in READING and _LIST.fullmatch(target))
    ):
        target = _VERSION + target
    return url.target(target)


def split_route(path: str) -> tuple[str, str | None]:
    """Split the path of a url that leads to one model of an llmhop: it ends in /route/NAME.

    The name is None where it does not. A `/v1` behind it, or alone, is not in the path returned.
    """
    trimmed = path.removesuffix("/")
    for text in (trimmed, trimmed.removesuffix(_VERSION.decode())):  # v1 may be a name
        before, prefix, name = text.rpartition(ROUTE_PREFIX.decode())
        if prefix and name and "/" not in name:
            return before, unquote(name, errors="replace")
    return _ENDS_IN_VERSION.sub("", path), None
