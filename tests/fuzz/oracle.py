"""What h11 reads in the same bytes. It shares no code with llmhop, nor with llhttp under it."""

from __future__ import annotations

from typing import NamedTuple

import h11

_LARGEST = 1_000_000


class Message(NamedTuple):
    """A request or a response: its first words, its fields, its body."""

    start: tuple[bytes, ...]
    fields: list[tuple[bytes, bytes]]
    body: bytes


class Reading(NamedTuple):
    """All messages that are there as a whole, why reading stopped, and what is left."""

    messages: list[Message]
    error: str
    left: bytes


def read_requests(raw: bytes) -> Reading:
    """Read the requests of one connection, each answered as soon as it was read."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST)
    connection.receive_data(raw)
    messages: list[Message] = []
    request: h11.Request | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                fields = list(request.headers.raw_items())
                messages.append(Message((request.method, request.target), fields, body))
                if request.method == b"CONNECT":
                    break
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    break
                connection.start_next_cycle()
            else:
                break
    except h11.RemoteProtocolError as error:
        return Reading(messages, str(error), b"")
    return Reading(messages, "", connection.trailing_data[0])


def read_response(raw: bytes, *, to_head: bool) -> Reading:
    """Read the response to one request, up to the end of the connection."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST)
    method = "HEAD" if to_head else "POST"
    fields = [("Host", "r"), ("Content-Length", "0")]
    connection.send(h11.Request(method=method, target="/", headers=fields))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    ended = False
    messages: list[Message] = []
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, (h11.InformationalResponse, h11.Response)):
                start = (b"%d" % event.status_code,)
                messages.append(Message(start, list(event.headers.raw_items()), b""))
            elif isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA and not ended:
                ended = True
                connection.receive_data(b"")
            elif isinstance(event, h11.EndOfMessage):
                messages[-1] = messages[-1]._replace(body=body)
                break
            else:
                return Reading(messages, f"stopped at {event}", b"")
    except h11.RemoteProtocolError as error:
        return Reading(messages, str(error), b"")
    return Reading(messages, "", connection.trailing_data[0])
