"""The router's pure readers, fed with pieces as a connection feeds them."""

from __future__ import annotations

from typing import NamedTuple

from llmhop.errors import ApiError, BackendError
from llmhop.http.parsed_head import RequestHead, ResponseHead
from llmhop.http.request_reader import RequestReader
from llmhop.http.response_reader import ResponseReader
from llmhop.relay import rewrite
from llmhop.relay.head_memo import HeadMemo
from llmhop.routing.decision import Route
from llmhop.routing.table import RoutingTable

REQUEST_ID = b"id-1"


class Requests(NamedTuple):
    """What became of a client's bytes. `refusal` is the status and message that end it."""

    messages: list[tuple[RequestHead, bytes]]
    refusal: tuple[int, str] | None
    closed: bool


class Response(NamedTuple):
    """What became of a backend's bytes up to the end of one response.

    `heads` are the interim ones and the final one, each with its length; `error` says why there
    is no whole response; `left` is what came in pieces after the end.
    """

    heads: list[tuple[ResponseHead, int | None]]
    body: bytes
    reusable: bool
    error: str
    left: bytes


def pieces_of(raw: bytes, size: int) -> list[bytes]:
    """Cut `raw` into pieces of `size` bytes; 0 leaves it whole."""
    return [raw[at : at + size] for at in range(0, len(raw), size)] if size else [raw]


def read_requests(pieces: list[bytes], limit: int = 10_000) -> Requests:
    """Read requests until one is refused or ends the connection."""
    reader = RequestReader()
    messages: list[tuple[RequestHead, bytes]] = []
    head = None
    for piece in pieces:
        reader.feed(piece)
        try:
            while True:
                if head is None:
                    head = reader.read_head()
                    if head is None:
                        break
                    reader.start_body(head, limit)
                body = reader.read_body()
                if body is None:
                    break
                messages.append((head, bytes(body)))
                if head.close:
                    return Requests(messages, None, closed=True)
                head = None
        except ApiError as error:
            return Requests(messages, (error.status, error.message), closed=True)
    return Requests(messages, None, closed=False)


def forwarded_head(table: RoutingTable, head: RequestHead, route: Route, body_bytes: int) -> bytes:
    """Write the head that a backend gets from a client at 192.0.2.1."""
    memo = HeadMemo(table)
    memo.connected(b"192.0.2.1", b"http")
    return memo.request_head(head, route, 0, body_bytes, REQUEST_ID)


def client_head(head: ResponseHead, length: int | None, *, decode: bool) -> bytes:
    """Write the head that a client gets."""
    if head.status < 200:
        return rewrite.interim_head(head)
    return rewrite.response_head(
        head, length, REQUEST_ID, b"", decoded=decode, close=not head.framed, cors=b""
    )


def read_response(
    pieces: list[bytes], *, decode: bool = False, to_head: bool = False, ends: bool = True
) -> Response:
    """Read one response, the way an upstream connection does; with `ends`, to the end of it."""
    reader = ResponseReader()
    reader.start(head_only=to_head, decode=decode, websocket=False)
    heads: list[tuple[ResponseHead, int | None]] = []
    body, in_body, index = b"", False, 0
    try:
        for index, piece in enumerate(pieces):  # noqa: B007 - is used after the loop
            if in_body:
                body += reader.read_body(piece)
            elif (whole := reader.read_whole(piece)) is not None:
                heads.append((whole[0], reader.length))
                body = whole[1]
            else:
                reader.feed_head(piece)
                while not in_body and (head := reader.read_head()) is not None:
                    heads.append((head, reader.length))
                    if head.status >= 200:
                        in_body = True
                        body = reader.first_body()
            if reader.complete:
                break
        else:
            if ends:
                reader.end_of_stream()
    except BackendError as error:
        return Response(heads, body, False, str(error), b"")
    return Response(heads, body, reader.reusable, "", b"".join(pieces[index + 1 :]))
