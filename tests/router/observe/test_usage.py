"""Tokens are found at the end of a response."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmhop.observe.usage import TAIL_BYTES, Usage, find_usage

DETAILS = (
    b'{"prompt_tokens": 7, "total_tokens": 12, "completion_tokens": 5, '
    b'"prompt_tokens_details": {"cached_tokens": 3}}'
)


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (b'{"choices":[],"usage":%b,"kv":null}' % DETAILS, Usage(7, 5)),
        (b'{"usage" : {"input_tokens":3,"output_tokens":4}}', Usage(3, 4)),
        (b'{"usage":{"prompt_tokens":9,"total_tokens":9}}', Usage(9, 0)),
        (b'data: {"usage":%b}\n\ndata: [DONE]\n\n\r\n0\r\n\r\n' % DETAILS, Usage(7, 5)),
        (b'data: {"usage":{"prompt_tokens":1}}\n\ndata: {"usage":%b}\n\n' % DETAILS, Usage(7, 5)),
        # A model's own words are no report, though they come later.
        (b'{"usage":%b,"logprobs":[{"token":"usage"}]}' % DETAILS, Usage(7, 5)),
        (b'{"content":"\\"usage\\":{}"}', None),
        (b'{"usage":null}', None),
        (b'{"usage":{"prompt_tokens":"7"}}', None),
        (b'{"usage":{"prompt_tokens":-1}}', None),
        (b'{"usage":{"prompt_tokens":1e300}}', None),
        (b'{"usage":{"prompt_tokens":7', None),
        (b"", None),
    ],
)
def test_the_last_report_counts(tail: bytes, expected: Usage | None) -> None:
    assert find_usage(tail) == expected


def test_only_the_end_is_looked_at() -> None:
    report = b'{"usage":%b}' % DETAILS
    assert find_usage(report + b" " * (TAIL_BYTES - len(report) + 1)) == Usage(7, 5)
    assert find_usage(report + b" " * TAIL_BYTES) is None


@given(st.lists(st.sampled_from([b'"usage"', b":", b"{", b"}", b'"prompt_tokens"', b"1", b"\xff"])))
def test_no_bytes_break_the_search(pieces: list[bytes]) -> None:
    usage = find_usage(b"".join(pieces))
    assert usage is None or usage.prompt >= 0
