"""The body of a request to a backend: what of it is in memory, and can be sent again.

Does no I/O. A body is either

- whole: all of it is in `data`, from where it is sent, as often as it takes; or
- streamed: `data` is its first part, and what follows is sent as it comes. While there is little of
  it, a copy is kept, with which it can begin again (`rewind`).

It counts as held until the backend has taken it (`taken`), or its copy as long as that is kept.
"""

from __future__ import annotations

from llmhop.http.body.large_body import Body
from llmhop.limits import MAX_HELD_FORM_BYTES


class RequestBody:
    """The body of an exchange's current request. Empty between requests.

    `data` is what is to be sent now. `streamed` says that it began before all of it was there,
    `open` that more is to come, and `length` how much in all, where that is known. `is_empty` says
    that it had no byte from the beginning.
    """

    __slots__ = ("_copied", "_copy", "_untaken", "data", "is_empty", "length", "open", "streamed")

    data: Body

    def __init__(self) -> None:
        self.data = b""
        self.streamed = self.open = self.is_empty = False
        self.length: int | None = None
        self._untaken = 0  # bytes that the backend has yet to take
        self._copy: list[bytes] | None = None
        self._copied = 0

    def start(self, data: Body, *, is_open: bool, length: int | None) -> None:
        """Begin with a request's body, of which there is more where it `is_open`."""
        self.data = data
        self._untaken = len(data)
        self.open = self.streamed = is_open
        self.is_empty = not (is_open or self._untaken)
        self.length = length

    @property
    def held_bytes(self) -> int:
        """How much of it is in memory."""
        return self._untaken if self._copy is None else max(self._untaken, self._copied)

    @property
    def is_taken(self) -> bool:
        """Whether the backend has taken what was sent."""
        return not self._untaken

    def next_part(self, repeatable: bool) -> Body:
        """Return what is to be sent now; keep it if it is to be `repeatable`.

        What is not kept is held by the connection, as long as that must.
        """
        data = self.data
        if self.streamed:
            self.data = b""
            if repeatable:
                self._copied = len(data)
                self._copy = [bytes(data)] if len(data) <= MAX_HELD_FORM_BYTES else None
        elif not repeatable:
            self.data = b""
        return data

    def append(self, pieces: list[bytes]) -> None:
        """Take note of more that is sent."""
        if self._copy is not None:
            self._copied += sum(map(len, pieces))
            self._copy += pieces
            if self._copied > MAX_HELD_FORM_BYTES:
                self._copy = None

    def taken(self) -> None:
        """Count no more what the backend has taken, unless it is kept here."""
        if not self.data:
            self._untaken = 0

    def rewind(self) -> bool:
        """Have it sent from the beginning once more; answer whether all of it is there."""
        if self.streamed:
            copy, self._copy = self._copy, None
            if copy is None:
                return False
            self.data = b"".join(copy)
            self._untaken = len(self.data)
        return True

    def forget(self) -> None:
        """Keep nothing, so that it can't be sent again."""
        self.data = b""
        self._copy = None

    def clear(self) -> None:
        """Be empty: its request is over."""
        self.data = b""
        self._copy = None
        self._untaken = 0
