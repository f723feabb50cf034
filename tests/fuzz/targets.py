"""What fuzzing checks. Each target takes any bytes, and an AssertionError is a finding.

The first byte says into pieces of which size the rest is cut, the second has flags.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import unquote, unquote_plus

from llmhop.config.findings import ConfigError
from llmhop.config.parser import parse
from llmhop.config.secrets import expand
from llmhop.errors import ApiError
from llmhop.http.body.large_body import Body, ScannedBody
from llmhop.http.fields.forwarding import REQUEST_DROPPED
from llmhop.http.head import parse_request_head
from llmhop.http.parsed_head import RequestHead
from llmhop.routing.body_model import model_if_any, read_model, rename
from llmhop.routing.decision import Route
from llmhop.routing.table import RoutingTable
from llmhop.routing.target import read_target

from tests.fuzz import oracle
from tests.fuzz.form_target import forms
from tests.fuzz.reading import (
    Requests,
    client_head,
    forwarded_head,
    pieces_of,
    read_requests,
    read_response,
)
from tests.router.support.corpus.json_readers import models_read

# Fields that the router says of itself, each once.
_OWN = (b"host", b"x-forwarded-for", b"x-forwarded-proto")
# What h11 refuses and the router takes: an empty line before a request (RFC 9112 section 2.2), and
# white space before the extension of a chunk (section 7.1.1).
_H11_IS_STRICTER = ("no request line received", "illegal chunk header")


def _no_tls(_certificate: str, _key: str) -> object:
    raise ConfigError([])


def _config(data: object) -> RoutingTable:
    return RoutingTable(parse(data, lambda text: expand(text, {}), _no_tls), 0)  # type: ignore[arg-type]


_MODELS = {
    "models": {
        "a": {"url": "http://backend:1/base", "aliases": ["b"]},
        "é/c": {"url": "http://other"},
    }
}
_TABLE = _config(_MODELS)
_HEAD = parse_request_head(b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 1\r\n\r\n")[0]
_WITH_TOKENS = _config({**_MODELS, "authTokens": ["key"]})


def requests(data: bytes) -> None:
    """A client's bytes: one outcome in any pieces, and h11 agrees on what was read and sent on."""
    size, flags, raw = data[:1], data[1:2], data[2:]
    found = read_requests(pieces_of(raw, 0))
    pieces = read_requests(pieces_of(raw, ord(size or b"\0")))
    assert pieces.messages == found.messages, "the pieces change what is read"
    # A limit that is exceeded may be seen before or after what else is wrong.
    assert (pieces.refusal is None) == (found.refusal is None), "the pieces change a refusal"
    _compare_with_h11(raw, found)
    table = _WITH_TOKENS if flags > b"\x7f" else _TABLE
    sent = b""
    for head, body in found.messages:
        start = forwarded_head(table, head, _route(table, "a"), len(body))
        sent += start + body
        _check_forwarded(start + body, head, body, with_tokens=table.has_auth)
    backend = oracle.read_requests(sent)
    assert not backend.error, f"h11 refuses what is sent on: {backend.error}"
    bodies = [message.body for message in backend.messages]
    assert bodies == [body for _, body in found.messages], "h11 splits what is sent on elsewhere"


def _compare_with_h11(raw: bytes, found: Requests) -> None:
    other = oracle.read_requests(raw)
    ours = [(head.method, head.target, body) for head, body in found.messages]
    theirs = [(*message.start, message.body) for message in other.messages]
    if not other.error.startswith(_H11_IS_STRICTER):
        assert len(theirs) >= len(ours), f"h11 refuses what the router takes: {other.error}"
    # h11 takes a bare LF for the end of a line; the router refuses it when the head has ended.
    if not found.closed and raw.count(b"\n") == raw.count(b"\r\n"):
        assert len(theirs) <= len(ours), "h11 finds a request where the router waits for its end"
    for (method, target, body), (other_method, other_target, other_body) in zip(
        ours, theirs, strict=False
    ):
        assert (method, body) == (other_method, other_body), "h11 reads another request"
        assert other_target.endswith(target) or target == b"/" or target.startswith(b"/?")


def _check_forwarded(raw: bytes, head: RequestHead, body: bytes, *, with_tokens: bool) -> None:
    reading = oracle.read_requests(raw)
    assert not reading.error, f"h11 refuses what is sent on: {reading.error}"
    ((start, fields, read_body),) = reading.messages
    assert (start[0], read_body) == (head.method, body)
    assert start[1].startswith(b"/base/"), "the path leaves the base of the backend's URL"
    names = [name.lower().replace(b"_", b"-") for name, _ in fields]
    for name in _OWN:
        assert names.count(name) == 1, f"{name!r} is there {names.count(name)} times"
    assert dict(fields)[b"X-Forwarded-For"] == b"192.0.2.1"
    allowed = {*_OWN, b"content-length", b"x-forwarded-host", b"x-request-id", b"authorization"}
    if head.websocket:
        allowed |= {b"connection", b"upgrade"}
    assert not (set(names) - allowed) & REQUEST_DROPPED, "a field of one connection goes on"
    assert not {name for name in names if name.startswith(b"x-forwarded")} - allowed
    assert not (with_tokens and b"authorization" in names), "a token goes on"


def responses(data: bytes) -> None:
    """A backend's bytes: one outcome in any pieces, and h11 agrees on what the client gets."""
    size, flags, raw = ord(data[:1] or b"\0"), ord(data[1:2] or b"\0"), data[2:]
    decode, to_head = bool(flags & 1), bool(flags & 2)
    found = read_response([raw], decode=decode, to_head=to_head)
    pieces = read_response(pieces_of(raw, size), decode=decode, to_head=to_head)
    assert bool(found.error) == bool(pieces.error), "the pieces change whether it is one"
    assert found.heads == pieces.heads, "the pieces change the heads"
    if found.error:
        return
    assert found.body == pieces.body, "the pieces change the body"
    assert found.reusable == (pieces.reusable and not pieces.left)
    (head, length), body = found.heads[-1], found.body
    plain = read_response([raw], decode=True, to_head=to_head).body
    relayed = client_head(head, length, decode=decode) + body
    for sent, rest in ((raw, None), (relayed, b"")):
        other = oracle.read_response(sent, to_head=to_head)
        if other.error.startswith(_H11_IS_STRICTER):
            continue
        assert not other.error, f"h11 refuses the response: {other.error}"
        assert other.messages[-1].start == (b"%d" % head.status,)
        assert other.messages[-1].body == plain, "h11 reads another body"
        if rest is not None:
            assert other.left == rest, "h11 finds bytes behind the response"


def naming(data: bytes) -> None:
    """Target and body: the model is the one that Python's own readers find."""
    line, _, body = data[2:].partition(b"\n")
    _compare_readers(body, ord(data[:1] or b"\0"))
    found = read_requests([b"POST /%b HTTP/1.1\r\nHost: r\r\n\r\n" % line])
    if len(found.messages) != 1:
        return
    head = found.messages[0][0]
    try:
        target = read_target(head.target)
    except ApiError as error:
        assert error.status == 400
        assert b";" in head.target
        return
    pairs = [pair.partition("=") for pair in target.query.decode("latin-1").split("&")]
    names = [value for name, _, value in pairs if unquote(name).lower() == "model"]
    assert [field.value for field in target.in_query] == [unquote_plus(name) for name in names]
    written = read_target(target.named_in_query("é/c&x=1"))
    values = {field.value for field in written.in_query if field.span is not None}
    assert not values or values == {"é/c&x=1"}
    try:
        decision = _TABLE.decide(head, body)
    except ApiError as error:
        assert error.status in (400, 403, 404)
        return
    assert isinstance(decision, Route)
    if target.names:
        named = {_route(_TABLE, name).model for name in target.names}
        assert named == {decision.model}, "the target names another model"
    if decision.renames:
        renamed = bytes(rename(head, body, decision.model))
        assert models_read(renamed) <= {decision.model}, "the backend reads another model"
    for model in models_read(body):
        assert _route(_TABLE, model).model == decision.model, "the body names another model"


def _route(table: RoutingTable, name: str) -> Route:
    route = table.routes.find(name)
    assert route is not None
    return route


def _compare_readers(body: bytes, size: int) -> None:
    outcomes: list[object] = []
    forms: tuple[Body, ...] = (body, _scanned(body, size)) if body else (body,)
    for form in forms:
        try:
            outcomes.append(read_model(_HEAD, form))
        except ApiError as error:
            assert error.status == 400
            outcomes.append(error.message)
    assert outcomes.count(outcomes[0]) == len(outcomes), "the pieces change what is read"
    try:
        model = model_if_any(_HEAD, body)
    except ApiError:
        return
    assert models_read(body) <= {model}, "some reader finds another model"
    if model is None:
        return
    pairs = _pairs(body)
    if pairs is not None:
        after = _pairs(bytes(rename(_HEAD, body, "new")))
        changed = [(k, "new" if k.lower() == "model" else v) for k, v in pairs]
        assert repr(after) == repr(changed), "more than the model was changed"


def _scanned(body: bytes, size: int) -> ScannedBody:
    scanned = ScannedBody()
    for piece in pieces_of(body, size):
        scanned.append(piece)
    return scanned


def _pairs(body: bytes) -> list[tuple[str, object]] | None:
    try:
        read = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    return read if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else None


def config(data: bytes) -> None:
    """A config, as JSON: taken, or refused with problems that name where and what to do."""
    try:
        value = json.loads(data[2:])
    except (ValueError, RecursionError):
        return
    try:
        parse(value, lambda text: expand(text, {}), _no_tls)  # type: ignore[arg-type]
    except ConfigError as error:
        for problem in error.findings:
            assert problem.where
            assert problem.what
            assert problem.todo
            assert "\n" not in str(problem)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "requests": requests,
    "responses": responses,
    "forms": forms,
    "naming": naming,
    "config": config,
}
