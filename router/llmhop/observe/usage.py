"""Finds the token usage that a response reports, in its last bytes. Does no I/O.

OpenAI's chat and completions, vLLM's and Anthropic's reports stand near the end: in the body of a
whole answer, or in one of the last events of a stream. What is compressed, or cut into chunks
within the report, is not found.
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
    plain = tail.rfind(_PLAIN, -TAIL_BYTES)
    if plain >= 0:  # as vLLM writes it; no expression is needed
        report, brace, rest = tail[plain + len(_PLAIN) - 1 :].partition(b"}")
        if brace and b"{" not in report[1:] and _KEY not in rest:
            return _read(report + brace)
    end = len(tail)
    for _ in range(_MAX_TRIES):
        end = tail.rfind(_KEY, -TAIL_BYTES, end)
        if end < 0:
            return None
        match = _REPORT.match(tail, end)
        if match is not None:
            return _read(match[1])
    return None


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
