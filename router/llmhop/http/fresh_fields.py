"""Request heads that differ only in fields with a fresh value each time, such as ids of traces.

Such a head is parsed once, with a fixed value in each of those fields, and becomes a template into
which the values of its repeats are put. The values affect nothing else: any printable ASCII is
equal to the parser. A head with
any other value, or with such a field twice, is parsed as it is.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from llmhop.http.fields.known_fields import Field
from llmhop.http.head import parse_request_head
from llmhop.http.head_cache import MAX_CACHED_BYTES, HeadCache
from llmhop.http.parsed_head import RequestHead

# W3C Trace Context and Baggage, and X-Request-Id, which many clients make up themselves.
_NAME: Final = re.compile(rb"\r\n(?i:traceparent|tracestate|baggage|x-request-id): ")
_VALUE: Final = re.compile(rb"[!-~](?:[ -~]{0,126}[!-~])?")
_ANY_VALUE: Final = b"0"
_LINE_END: Final = b"\r\n"


class Template:
    """A head in which fresh values stand for others.

    `is_usable` says that it has each field once.
    """

    __slots__ = ("_head", "_id", "_kept", "_of_kept", "_places", "is_usable")

    def __init__(self, head: RequestHead, names: list[bytes]) -> None:
        """`names` are those of the fields, each from the line end before it to its value."""
        self._head = head
        keys = [key for key, _, _ in head.fields]
        fresh = [name[2:-2].lower() for name in names]
        self.is_usable = all(keys.count(key) == 1 for key in fresh)
        self._places: list[int] = []
        self._id = -1
        # The lines that go on, around the values; and which value follows each part but the last.
        self._kept: list[bytes] = []
        self._of_kept: list[int] = []
        rest = _LINE_END + head.kept
        for number, (key, name) in enumerate(zip(fresh, names, strict=True)):
            if not self.is_usable:
                break
            self._places.append(keys.index(key))
            if key == b"x-request-id":
                self._id = number
            before, found, after = rest.partition(name + _ANY_VALUE + _LINE_END)
            if found:
                self._kept.append(before + name)
                self._of_kept.append(number)
                rest = _LINE_END + after
        self._kept.append(rest)

    def head(self, values: list[bytes]) -> RequestHead:
        """Return the head with these values."""
        head = self._head
        fields: list[Field] = list(head.fields)
        for number, place in enumerate(self._places):
            key, name, _ = fields[place]
            fields[place] = (key, name, values[number])
        kept = b""
        for part, number in enumerate(self._of_kept):
            kept += self._kept[part] + values[number]
        kept += self._kept[len(self._of_kept)]
        return msgspec.structs.replace(
            head,
            fields=tuple(fields),
            kept=kept[2:],
            request_id=values[self._id] if self._id >= 0 else head.request_id,
        )


class FreshFields:
    """Reads heads with fresh values by their templates."""

    __slots__ = ("_templates",)

    def __init__(self) -> None:
        self._templates: HeadCache[Template] = HeadCache(_parse)

    def __len__(self) -> int:
        return len(self._templates)

    def read(self, raw: bytes) -> tuple[RequestHead, int | None] | None:
        """Return what `parse_request_head` does for `raw`, and raise what it raises.

        Answers None where no field has a fresh value that can be taken out.
        """
        match = _NAME.search(raw)
        if match is None or len(raw) > MAX_CACHED_BYTES:
            return None
        common, values, at = b"", [], 0
        while match is not None:
            start = match.end()
            end = raw.find(_LINE_END, start)
            value = raw[start:end]
            if _VALUE.fullmatch(value) is None:
                return None
            values.append(value)
            common += raw[at:start] + _ANY_VALUE
            at = end
            match = _NAME.search(raw, end)
        template, length = self._templates.read(common + raw[at:])
        return (template.head(values), length) if template.is_usable else None


def _parse(common: bytes) -> tuple[Template, int | None]:
    head, length = parse_request_head(common)
    return Template(head, _NAME.findall(common)), length
