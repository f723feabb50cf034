"""Proxy-Status: what an llmhop says in it is taken, what others say stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmhop.errors import BUSY, LOOP, NO_MODEL, NOT_REACHED
from llmhop.http.fields.proxy_status import proxy_status_line
from llmhop.http.head import parse_response_head

ERRORS = [BUSY, LOOP, NO_MODEL, NOT_REACHED]
OTHERS = [
    b"cdn",
    b"cdn; error=dns_timeout",
    b'"a, llmhop; b"; x="\\", y"',
    b"llmhop2; error=" + BUSY,
]


def parse(*lines: bytes, status: int = 503) -> tuple[bytes, bytes]:
    """Return `unserved`, and what the client gets of the fields."""
    head, _ = parse_response_head(
        b"HTTP/1.1 %d X\r\n%b\r\n" % (status, b"".join([line + b"\r\n" for line in lines]))
    )
    return head.unserved, head.start.partition(b"\r\n")[2]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("status", [404, 429, 503, 508])
def test_what_one_llmhop_writes_the_next_one_reads_and_keeps(error: bytes, status: int) -> None:
    assert parse(proxy_status_line(error), b"A: b", status=status) == (error, b"A: b\r\n")


@pytest.mark.parametrize("status", [200, 302])
def test_what_was_answered_well_was_served(status: int) -> None:
    assert parse(proxy_status_line(BUSY), status=status) == (b"", b"")


@given(st.lists(st.sampled_from(OTHERS), max_size=3), st.sampled_from(ERRORS))
def test_what_others_say_stays_as_it_is(others: list[bytes], error: bytes) -> None:
    own = proxy_status_line(error).partition(b": ")[2]
    for place in range(len(others) + 1):
        said = b", ".join([*others[:place], own, *others[place:]])
        unserved, start = parse(b"proxy-STATUS: " + said)
        assert unserved == error
        assert start == (b"proxy-STATUS: " + b", ".join(others) + b"\r\n" if others else b"")


@pytest.mark.parametrize(
    "value",
    [b"llmhop", b"llmhop; error=connection_refused", b"llmhop; error", b"", b",", b"llmhop;"],
)
def test_what_names_none_of_the_reasons_is_no_reason(value: bytes) -> None:
    assert parse(b"Proxy-Status: " + value)[0] == b""


@given(
    st.lists(st.sampled_from([b'"', b"\\", b",", b";", b"llmhop", b"=", b" ", b"x"]), max_size=60)
)
def test_any_value_can_be_read(pieces: list[bytes]) -> None:
    parse(b"Proxy-Status: " + b"".join(pieces))
