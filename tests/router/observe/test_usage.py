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


USAGE = b'"usage":' + DETAILS
PLAIN = b'"usage":{"prompt_tokens":7,"completion_tokens":5}'
LONG = b'"output":"%b",' % (b"x" * 2 * TAIL_BYTES)
REPORTS = {
    "a whole answer": b'{"id":"x",%b}',
    "not last": b'{"id":"x",%b,"metadata":{"a":["}"]},"user":null}',
    "pretty": b'{\n  "id": "x",\n  %b\n}\n',
    "an event": b'data: {"choices":[],%b}\n\ndata: [DONE]\n\n',
    "an event in a chunk": b'1f\r\ndata: {"choices":[],%b}\n\n\r\n0\r\n\r\n',
    "Responses": b'data: {"type":"response.completed","response":{"id":"x",%b,"user":null}}\n\n',
    "Responses of vLLM": b'data: {"response":{"id":"x",%b},"sequence_number":9,"type":"x"}\n\n',
    "a long one": b'data: {"response":{' + LONG + b'%b},"sequence_number":9}\n\n',
    "Anthropic's first event": b'data: {"type":"message_start","message":{%b}}\n\n',
    "Anthropic's last event": b'data: {"type":"message_delta","delta":{"a":1},%b}\n\n',
}
OTHERS = {
    "in a choice": b'{"choices":[{%b}]}',
    "in an object": b'{"extra":{%b}}',
    "in an object behind a list": b'{"choices":[{"a":{}}],"extra":{"b":1,%b},"c":[]}',
    "in an event": b'data: {"type":"response","extra":{%b}}\n\ndata: [DONE]\n\n',
    "in the response's own object": b'data: {"response":{"metadata":{%b}}}\n\n',
    "in a long object": b'{"extra":{' + LONG + b"%b}}",
    "in a list": b"[{%b}]",
    "not ended": b'{"id":"x",%b',
}


@pytest.mark.parametrize("report", [USAGE, PLAIN], ids=["detailed", "plain"])
@pytest.mark.parametrize("form", REPORTS.values(), ids=REPORTS.keys())
def test_a_report_is_found_where_apis_put_it(form: bytes, report: bytes) -> None:
    assert find_usage(form % report) == Usage(7, 5)


@pytest.mark.parametrize("report", [USAGE, PLAIN], ids=["detailed", "plain"])
@pytest.mark.parametrize("form", OTHERS.values(), ids=OTHERS.keys())
def test_what_else_is_called_so_is_no_report(form: bytes, report: bytes) -> None:
    other = form % report
    assert find_usage(other) is None
    if len(other) < TAIL_BYTES:  # nor does it hide one that came before
        assert find_usage(b'data: {"usage":{"prompt_tokens":1}}\n\n' + other) == Usage(1, 0)


@given(
    st.sampled_from([REPORTS["a whole answer"], REPORTS["an event"], REPORTS["pretty"]]),
    st.lists(st.integers(1, 60), max_size=200),
    st.sampled_from([b"", b";x=1", b" ; x"]),
)
def test_a_report_is_found_however_it_is_cut_into_chunks(
    form: bytes, sizes: list[int], extension: bytes
) -> None:
    body = form % USAGE
    chunks = b""
    for size in [*sizes, len(body)]:
        part, body = body[:size], body[size:]
        if part:
            chunks += b"%x%b\r\n%b\r\n" % (len(part), extension, part)
    for end in (b"0\r\n\r\n", b"0\r\nX-Trailer: a\r\n\r\n", b""):
        assert find_usage((chunks + end)[-TAIL_BYTES:]) == Usage(7, 5)


def test_only_the_end_is_looked_at() -> None:
    report = b'{"usage":%b}' % DETAILS
    assert find_usage(report + b" " * (TAIL_BYTES - len(report) + 1)) == Usage(7, 5)
    assert find_usage(report + b" " * TAIL_BYTES) is None


@given(st.lists(st.sampled_from([b'"usage"', b":", b"{", b"}", b'"prompt_tokens"', b"1", b"\xff"])))
def test_no_bytes_break_the_search(pieces: list[bytes]) -> None:
    usage = find_usage(b"".join(pieces))
    assert usage is None or usage.prompt >= 0
