"""The heads of messages, as they were parsed (see head)."""

from __future__ import annotations

import msgspec

from llmhop.http.fields.known_fields import Field, Names


class RequestHead(msgspec.Struct, frozen=True):
    """A request's head, all but the value of its Content-Length (see head_cache).

    `target` is in origin form, each run of slashes in its path one of them; `path` is `target`
    without its query. `bearer` is the token that the client shows. `framed` says that a body is
    announced, by its length or as chunks. `kept` are the lines that go on,
    `authorization` those with a token, which go on where llmhop asks for none;
    `names` are those of all other fields, hyphens for underscores. `request_id` is the client's
    own, where it has a usable one. `boundary` is that of a multipart form; `in_fields` says that a
    body may be a form of the other type, application/x-www-form-urlencoded. `websocket` says that
    this is to become a WebSocket: the connection then carries no request after it, whatever the
    answer. `via` is what its fields Via say, in lower case; `via_llmhop` whether one of them names
    an llmhop. `coded` says that the body is in a content coding, such as gzip; `last_hop` that no
    further proxy or server is to get the request. `origin` is that of the web page which asks,
    through a browser; None without one.
    """

    method: bytes
    target: bytes
    path: bytes
    fields: tuple[Field, ...]
    names: Names
    nominated: Names
    host: bytes
    bearer: bytes | None
    framed: bool
    chunked: bool
    http10: bool
    close: bool
    expect_continue: bool
    kept: bytes
    authorization: bytes
    request_id: bytes | None
    boundary: bytes | None
    in_fields: bool
    websocket: bool
    via: bytes
    via_llmhop: bool
    coded: bool
    last_hop: bool
    origin: bytes | None


class ResponseHead(msgspec.Struct, frozen=True):
    """A response's head, all but the value of its Content-Length.

    Where it is not `framed`, by a length or as chunks, the end of the connection ends the body.
    `start` is the status line and the fields that the client gets. `reports_usage` says that the
    end of the body may tell the tokens of the answer, `streams` that it is a stream of events.
    `dated` says that a Date is among its fields. `unserved` is why no engine has seen the request,
    where an llmhop answered so (see http.fields.proxy_status), else empty.
    """

    status: int
    framed: bool
    chunked: bool
    close: bool
    start: bytes
    reports_usage: bool
    streams: bool
    dated: bool
    unserved: bytes = b""
