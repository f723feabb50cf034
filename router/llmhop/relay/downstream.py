"""The interface of an exchange to the client's side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from llmhop.errors import ApiError
from llmhop.http.local_response import LocalResponse


class Downstream(Protocol):
    """The client's side, as an exchange sees it."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Sends bytes to the client."""

    def unsent_bytes(self) -> int:
        """How much of what was written the client has not taken."""

    def wants_close(self) -> bool:
        """Whether the response must say that the connection is closed after it."""

    def exchange_done(self, close: bool) -> None:
        """The whole response was written."""

    def exchange_answered(self, response: LocalResponse) -> None:
        """There is a response of llmhop's own; nothing was written."""

    def exchange_refused(self, error: ApiError) -> None:
        """There is an error to answer with; nothing was written."""

    def place_refused(self, model: str) -> None:
        """The model has no place for the request, nor in its queue; nothing was written."""

    def exchange_broken(self, end: str) -> None:
        """The response broke off after its head was written; `end` is for the access log."""

    def arm_reset(self) -> None:
        """A response begins of which only the connection's end shows the end.

        Until `disarm_reset`, whatever closes the connection must not look like that end.
        """

    def disarm_reset(self) -> None:
        """That response ended well."""

    def pause_request(self) -> None:
        """The backend takes no more of a request that is open for now."""

    def resume_request(self) -> None:
        """The backend takes more of a request that is open."""

    def request_sent(self) -> None:
        """The exchange holds less of the request's body, or no more: the backend has taken it."""

    def upgraded(self) -> None:
        """The connection became a WebSocket; from now on the request is open."""
