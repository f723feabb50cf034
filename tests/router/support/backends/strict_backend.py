"""A backend that reads HTTP with h11, which shares no code with the router's own readers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import h11

from tests.router.support.corpus.requests import Message
from tests.router.support.endpoints import LoopThread


@dataclass
class StrictBackend:
    """Records the messages that h11 finds in what the router sends, and whatever it finds wrong.

    An answer names the backend and repeats the body, so that the client knows whose it is.
    """

    thread: LoopThread
    model: str
    messages: list[Message] = field(default_factory=list)
    fields: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    url: str = ""

    def start(self) -> StrictBackend:
        async def start() -> None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

        self.thread.run(start())
        return self

    def stop(self) -> None:
        self.thread.call(self._server.close)

    def forget(self) -> None:
        self.messages.clear()
        self.fields.clear()
        self.wrong.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
        request: h11.Request | None = None
        body = b""
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Request):
                    request, body = event, b""
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage) and request is not None:
                    self._record(request, body, connection)
                    self._answer(request, body, connection, writer)
                    connection.start_next_cycle()
                else:
                    break
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            self.wrong.append(str(error))
        except ConnectionError:
            pass  # The router closes at once what it does not want to keep.
        writer.close()

    def _record(self, request: h11.Request, body: bytes, connection: h11.Connection) -> None:
        self.messages.append(Message(self.model, request.method, request.target, body))
        self.fields.append(list(request.headers.raw_items()))
        if connection.trailing_data[0]:
            self.wrong.append(f"bytes after the end of a message: {connection.trailing_data[0]!r}")

    def _answer(
        self,
        request: h11.Request,
        body: bytes,
        connection: h11.Connection,
        writer: asyncio.StreamWriter,
    ) -> None:
        content = answer_of(Message(self.model, request.method, request.target, body))
        fields = [("Content-Length", str(len(content)))]
        writer.write(connection.send(h11.Response(status_code=200, headers=fields)) or b"")
        if request.method != b"HEAD":
            writer.write(connection.send(h11.Data(data=content)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")


def answer_of(message: Message) -> bytes:
    """The body of the answer that `message` gets."""
    return b"%b %b %b" % (message.model.encode(), message.target, message.body)
