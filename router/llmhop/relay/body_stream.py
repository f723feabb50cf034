"""Requests that are streamed to a backend: forms, and all that follows an upgrade. Does no I/O.

Of a form, what comes before its model has to be kept, because only then it is known where to send
it. Clients write the fields in any order: the Python client of OpenAI sends `model` first, curl
sends them as its user wrote them.
"""

from __future__ import annotations

from llmhop.errors import ApiError, BadRequestError
from llmhop.http.body.chunked import write_chunk
from llmhop.http.body.large_body import Body
from llmhop.http.body.multipart import FormReader
from llmhop.http.parsed_head import RequestHead
from llmhop.http.request_reader import RequestReader
from llmhop.routing.decision import ANYONE, Principal, Route
from llmhop.routing.table import RoutingTable


class FormStream:
    """Reads a form and gives out what goes on.

    `route` is known from the field `model` on, or from the beginning where the target names a
    model; then the form is to `begin`. `complete` says that all of it was read.
    """

    __slots__ = (
        "_begun",
        "_form",
        "_in_chunks",
        "_kept",
        "_length",
        "_principal",
        "_reader",
        "_table",
        "complete",
        "head",
        "route",
    )

    def __init__(
        self,
        head: RequestHead,
        boundary: bytes,
        reader: RequestReader,
        table: RoutingTable,
        principal: Principal = ANYONE,
    ) -> None:
        """Raises ApiError where the target names no known model, or one that is not for it."""
        self.head = head
        self._reader = reader
        self._table = table
        self._principal = principal
        self._form = FormReader(boundary, self._model_found)
        self._kept = bytearray()
        self._begun = self._in_chunks = False
        self._length: int | None = None
        self.route: Route | None = table.decide_by_target(head, principal)
        self.complete = False

    @property
    def held_bytes(self) -> int:
        """How much is kept because its backend is not known yet."""
        return len(self._kept)

    def read(self) -> list[bytes]:
        """Return what goes on of what has come: nothing before `begin`. Raises ApiError.

        A form that goes on already may still turn out to be none, or to name another model than
        the one it went to; then its request has to be broken off.
        """
        pieces = self._form.feed(self._reader.read_piece())
        if not self._reader.body_left:
            if not self._form.complete:
                raise BadRequestError("The form ends before its last boundary.")
            if self.route is None:
                raise ApiError(
                    400,
                    "The request names no model: add the field 'model' to the form, or ?model=NAME "
                    "to the path.",
                    param="model",
                )
            self.complete = True
        if self._begun:
            return write_chunk(pieces, self.complete) if self._in_chunks else pieces
        for piece in pieces:
            self._kept += piece
        return []

    def begin(self) -> tuple[int | None, Body]:
        """Return the length of what goes on, and its first part.

        The length is None where the form goes on in chunks: it came so, or the target named the
        model and an alias in the form, which would be replaced, may still come.
        """
        self._begun = True
        kept, self._kept = self._kept, bytearray()
        if self.complete:
            return len(kept), kept
        if self._length is not None:
            return self._length, kept
        self._in_chunks = True
        return None, b"".join(write_chunk([bytes(kept)], False))

    def _model_found(self, model: str) -> bytes:
        route = self._table.decide_form(self.head, model, self._principal)
        self.route = self.route or route
        new = route.model.encode()
        if self._reader.length is not None:
            self._length = self._reader.length + len(new) - len(model.encode())
        return new


class WebSocketStream:
    """What a client sends on a connection that became a WebSocket, passed on unparsed."""

    __slots__ = ("_reader",)

    complete = False

    def __init__(self, reader: RequestReader) -> None:
        self._reader = reader

    def read(self) -> list[bytes]:
        """Return what has come."""
        data, self._reader.pending = self._reader.pending, b""
        return [bytes(data)] if data else []
