"""The access log: a line for each request, on standard output.

It holds no bodies, no headers and no queries, which may hold secrets. Lines are collected and
written with each sweep, or sooner where they are many.
"""

from __future__ import annotations

import json
import re
import time
from functools import lru_cache
from typing import Final

import msgspec

from llmhop.config.config import AccessLogFormat
from llmhop.log.faults import attempt_each
from llmhop.log.line_buffer import LineBuffer
from llmhop.log.line_writer import Discard, LineWriter, ThreadWriter
from llmhop.observe.log_entry import DroppedLines, Entry

MAX_LINES: Final = 256
"""So many are written at once. Of the usual length, they take 64 KB."""

MAX_VALUE_CHARACTERS: Final = 256
"""What a client chooses is cut off here, so that a line stays within 4 KB."""

_CLOSE_S: Final = 1.0
_PLAIN: Final = re.compile(r"[!#-<>-\[\]-~]+")  # no white space, quote, backslash or equals sign


class AccessLog:
    """Collects entries, and writes them to a descriptor; where there is none, it counts them."""

    def __init__(self, descriptor: int | None, format_: AccessLogFormat) -> None:
        self._writer: LineWriter = (
            Discard()
            if descriptor is None
            else ThreadWriter(descriptor, LineBuffer(self._dropped_line))
        )
        self._format: AccessLogFormat = format_
        self.on = format_ != "off"
        self._entries: list[Entry] = []
        self._encoder = msgspec.json.Encoder()
        self._date_ms = self._second = -1
        self._date = self._second_text = ""
        self._offset_ns = 0
        self.set_clock()

    def set_clock(self) -> None:
        """Look how far the clock of the day is from the monotonic one."""
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def date(self, now_ns: int) -> str:
        """Write a time of the monotonic clock as a date (RFC 3339, UTC)."""
        ms = (now_ns + self._offset_ns) // 1_000_000
        if ms != self._date_ms:
            self._date_ms = ms
            second, rest = divmod(ms, 1000)
            if second != self._second:
                self._second = second
                self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._date = f"{self._second_text}.{rest:03}Z"
        return self._date

    def add(self, entry: Entry) -> None:
        """Take an entry; only where the log is `on`."""
        self._entries.append(entry)
        if len(self._entries) >= MAX_LINES:
            self.flush()

    def flush(self) -> None:
        """Hand the lines so far to the writer."""
        self._writer.flush()
        if not self._entries:
            return
        entries, self._entries = self._entries, []
        self._writer.put(self._lines(entries))

    def take_dropped(self) -> int:
        """Return how many lines were dropped since this was asked last."""
        return self._writer.take_dropped()

    def change(self, format_: AccessLogFormat) -> None:
        """Write in another format from now on."""
        self.flush()
        self._format = format_
        self.on = format_ != "off"

    def close(self) -> None:
        """Write what is left, waiting a little for the reader."""
        self.flush()
        self._writer.close(_CLOSE_S)

    def _lines(self, entries: list[Entry]) -> bytes:
        try:
            return self._encoded(entries)
        except Exception:  # all but the one that can't be written
            lines: list[bytes] = []
            attempt_each(
                "a line of the access log",
                entries,
                lambda entry: lines.append(self._encoded([entry])),
            )
            return b"".join(lines)

    def _encoded(self, entries: list[Entry]) -> bytes:
        if self._format == "json":
            return self._encoder.encode_lines(entries)
        return "".join(map(text_line, entries)).encode()

    def _dropped_line(self, count: int) -> bytes:
        date = self.date(time.monotonic_ns())
        if self._format == "json":
            return self._encoder.encode_lines([DroppedLines(date, count)])
        return f"time={date} dropped_lines={count}\n".encode()


def text_line(entry: Entry) -> str:
    """Write an entry as key=value, with a dash for what there is not."""
    return (
        f"time={entry.time} request_id={_word(entry.request_id)} client={_known(entry.client)} "
        f"client_name={_known(entry.client_name)} "
        f"method={_known(entry.method)} path={_known(entry.path)} model={_known(entry.model)} "
        f"backend={_known(entry.backend)} status={entry.status} bytes_in={entry.bytes_in} "
        f"bytes_out={entry.bytes_out} queue_ms={_ms(entry.queue_ms)} "
        f"connect_ms={_ms(entry.connect_ms)} first_byte_ms={_ms(entry.first_byte_ms)} "
        f"total_ms={_ms(entry.total_ms)} end={entry.end}\n"
    )


def _word(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


@lru_cache(maxsize=1024)
def _known(text: str | None) -> str:
    return "-" if text is None else _word(text)


def _ms(value: float | None) -> str:
    return "-" if value is None else str(int(value))
