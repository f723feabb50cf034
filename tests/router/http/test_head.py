"""The checks of heads that hold whatever the installed llhttp lets pass."""

from __future__ import annotations

import re

import pytest
from llmhop.errors import BackendError, BadRequestError
from llmhop.http.fields.known_fields import Field, KnownFields
from llmhop.http.head import parse_request_head, parse_response_head
from llmhop.http.response_reader import ResponseReader

from tests.router.support.corpus.responses import RESPONSES


def fields(*pairs: tuple[bytes, bytes]) -> list[Field]:
    return [(name.lower(), name, value) for name, value in pairs]


@pytest.mark.parametrize(
    "pairs",
    [
        [(b"Content-Length", b"1"), (b"Content-Length", b"1")],
        [(b"Content-Length", b"1"), (b"content-length", b"2")],
        [(b"Content-Length", b"+1")],
        [(b"Content-Length", b"1_0")],
        [(b"Content-Length", b"")],
        [(b"Content-Length", b"1, 1")],
        [(b"Content-Length", b"9" * 19)],
        [(b"Transfer-Encoding", b"gzip, chunked")],
        [(b"Transfer-Encoding", b"identity")],
        [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"1")],
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
    ],
)
@pytest.mark.parametrize("error", [BadRequestError, BackendError])
def test_a_message_of_doubtful_length_is_refused_in_both_directions(
    pairs: list[tuple[bytes, bytes]], error: type[BadRequestError] | type[BackendError]
) -> None:
    with pytest.raises(error):
        KnownFields(fields(*pairs), error)


def test_what_connection_names_is_collected_from_all_its_fields() -> None:
    found = KnownFields(
        fields((b"Connection", b"Close ,X-A"), (b"connection", b"\tx-b")), BadRequestError
    )
    assert found.nominated == {b"close", b"x-a", b"x-b"}


def test_an_absolute_target_becomes_a_path() -> None:
    for target, path in (
        (b"http://h", b"/"),
        (b"HTTP://h:1?x=1", b"/?x=1"),
        (b"https://h/a?x=/../", b"/a?x=/../"),
    ):
        head, _ = parse_request_head(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
        assert head.target == path


def test_a_response_head_says_whether_its_connection_ends() -> None:
    for raw, close in (
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
        (b"HTTP/1.1 200\r\nConnection: x, CLOSE\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", True),
    ):
        head, _ = parse_response_head(raw)
        assert head.close is close


BROKEN = [each.raw for each in RESPONSES.values() if each.status == 502]


@pytest.mark.parametrize("raw", BROKEN)
def test_what_is_wrong_with_a_response_is_told_as_what_its_backend_did(raw: bytes) -> None:
    """The log puts the backend before it, and more after it."""
    reader = ResponseReader()
    reader.start(head_only=False, decode=False, websocket=False)
    with pytest.raises(BackendError) as caught:
        reader.feed_head(raw)
        while reader.read_head() is not None:
            pass
        reader.end_of_stream()
    assert re.match(r"(sent|closed|switched) \S", str(caught.value))
    assert str(caught.value)[-1] not in ".;"
