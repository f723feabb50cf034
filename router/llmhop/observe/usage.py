"""Finds the token usage that a response reports, in its last bytes. Does no I/O.

OpenAI's chat and completions, vLLM's and Anthropic's reports stand near the end: in the body of a
whole answer, or in one of the last events of a stream. There it is `usage` of the outermost object,
or of its `response` (response.completed of the Responses API) or `message` (message_start of
Anthropic's); what else has that name is no report. What is compressed is not found.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

TAIL_BYTES: Final = 4096
"""How many bytes at the end of a response are looked at."""

TAIL_PIECES: Final = 4
"""How many of the last pieces they are taken from: the report, [DONE] and the last chunk may each
come alone."""

_KEY: Final = b'"usage"'
_PLAIN: Final = b'"usage":{'
_REPORT: Final = re.compile(rb'"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_WRAPPERS: Final = (b'"response"', b'"message"')
_CRLF: Final = b"\r\n"
_FRAMING: Final = re.compile(rb"\r\n[0-9A-Fa-f]+[ \t]*(?:;[^\r\n]*)?\r\n")
"""What stands between two chunks (RFC 9112 section 7.1). In JSON, a line break stands in no string,
and a line that is a number alone is written by nobody."""
_EVENT: Final = b"data:"
_SPACE: Final = b" \t\r\n"
_MAX_TRIES: Final = 8
_MAX_TOKENS: Final = 2**40


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of a request's prompt and of its answer."""

    prompt: int
    completion: int


class _Report(msgspec.Struct):
    """`input_tokens` and `output_tokens` are what the responses and messages APIs say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


_DECODER = msgspec.json.Decoder(_Report)


def find_usage(tail: bytes) -> Usage | None:
    """Return what the last report in `tail` says, or None where there is none."""
    if _CRLF in tail:  # chunks are relayed as they came, and may end anywhere
        tail = _FRAMING.sub(b"", tail)
    plain = tail.rfind(_PLAIN, -TAIL_BYTES)
    if plain >= 0:  # as vLLM writes it; no expression is needed
        report, brace, rest = tail[plain + len(_PLAIN) - 1 :].partition(b"}")
        if brace and b"{" not in report[1:] and rest.rstrip(_SPACE) == b"}":
            return _read(report + brace)
    end = len(tail)
    for _ in range(_MAX_TRIES):
        end = tail.rfind(_KEY, -TAIL_BYTES, end)
        if end < 0:
            return None
        match = _REPORT.match(tail, end)
        if match is not None and _is_in_place(tail, end, match.end()):
            return _read(match[1])
    return None


def _is_in_place(tail: bytes, start: int, end: int) -> bool:
    """Whether APIs have their report there, by the objects that are still open behind it."""
    closers = []
    depth, last = 0, len(tail)
    for token in _TOKEN.finditer(tail, end):
        sign = token[0]
        if sign in (b"{", b"["):
            depth += 1
        elif sign in (b"}", b"]"):
            depth -= 1
            if depth < 0:
                depth = 0
                closers.append(sign)
                last = token.end()
                if tail[last:].lstrip(_SPACE)[:1] not in (b",", b"}", b"]"):
                    break
    if closers == [b"}"]:
        return True
    if closers != [b"}", b"}"]:
        return False
    event = tail.rfind(_EVENT, 0, start)
    if event >= 0:
        return _keys_above(tail, event, start)[-1:] in [[key] for key in _WRAPPERS]
    # Its beginning is farther away: of an event, which ends its line, it is a `response`.
    return tail[last : last + 1] in (b"\r", b"\n")


def _keys_above(tail: bytes, start: int, end: int) -> list[bytes]:
    """Return the keys of the objects and lists that are open at `end`."""
    keys = []
    before = b""
    for token in _TOKEN.finditer(tail, start, end):
        if token[0] in (b"{", b"["):
            keys.append(before)
        elif token[0] in (b"}", b"]"):
            del keys[-1:]
        else:
            before = token[0]
    return keys


def _read(report: bytes) -> Usage | None:
    try:
        found = _DECODER.decode(report)
    except msgspec.DecodeError:
        return None
    prompt = found.prompt_tokens or found.input_tokens or 0
    completion = found.completion_tokens or found.output_tokens or 0
    if not (0 <= prompt <= _MAX_TOKENS and 0 <= completion <= _MAX_TOKENS):
        return None
    return Usage(prompt, completion)
