"""Requests whose heads are refused: what could be read of them is in the access log."""

from __future__ import annotations

import pytest
from llmhop.http.refused_head import RefusedHead, read_refused
from llmhop.observe.access_log import MAX_VALUE_CHARACTERS

from tests.router.conftest import StartFake
from tests.router.support.fakes.network import FakeTransport
from tests.router.support.fakes.router import FakeRouter, statuses

ID = b"Host: r\r\nX-Request-Id: mine\r\n"
REFUSED = {
    "TRACE": (b"TRACE /a?key=secret HTTP/1.1\r\n", b"", 501, "TRACE", "/a"),
    "Expect": (b"GET /a HTTP/1.1\r\n", b"Expect: gold\r\n", 417, "GET", "/a"),
    "dot segments": (b"GET /a/../b HTTP/1.1\r\n", b"", 400, "GET", "/a/../b"),
    "two Hosts": (b"GET /a HTTP/1.1\r\n", b"Host: r\r\n", 400, "GET", "/a"),
    "two ids": (b"TRACE /a HTTP/1.1\r\n", b"X-Request-Id: other\r\n", 501, "TRACE", "/a"),
    "another version": (b"GET /a HTTP/3.0\r\n", b"", 505, "GET", "/a"),
    "a version that is none": (b"GET /a HTTP/1.2\r\n", b"", 505, "GET", "/a"),
    "a long path": (
        b"TRACE /" + b"a" * 1000 + b" HTTP/1.1\r\n",
        b"",
        501,
        "TRACE",
        "/" + "a" * (MAX_VALUE_CHARACTERS - 1) + "...",
    ),
    "no ASCII": (b"GET /\xff HTTP/1.1\r\n", b"", 400, "GET", "/\\xff"),
    "no HTTP": (b"\0\x01 \r\n", b"", 400, None, None),
}


def refuse(router: FakeRouter, pieces: list[bytes]) -> FakeTransport:
    client = router.client()
    for piece in pieces:
        router.send(client, piece)
    return client


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_what_can_be_read_of_a_refused_head_is_told(
    name: str, in_pieces: bool, start_fake: StartFake
) -> None:
    line, fields, status, method, path = REFUSED[name]
    raw = line + ID + fields + b"\r\n"
    router = start_fake()
    client = refuse(router, [raw[:-5], raw[-5:]] if in_pieces else [raw])
    [ended] = router.server.observer.ended
    assert statuses(client) == [ended.status] == [status]
    assert (ended.method, ended.path) == (method, path)
    assert (ended.request_id == b"mine") == (name != "two ids")
    assert (b"X-Request-Id: %b\r\n" % ended.request_id) in client.sent


def test_the_time_of_a_head_that_is_too_slow_is_that_which_was_waited(
    start_fake: StartFake,
) -> None:
    router = start_fake()
    client = refuse(router, [b"GET /a HTTP/1.1\r\nX-Request-Id: mine\r\n"])
    router.wait(12)
    [ended] = router.server.observer.ended
    assert statuses(client) == [408]
    assert (ended.method, ended.path, ended.request_id) == ("GET", "/a", b"mine")
    assert 10 <= (ended.ns - ended.started_ns) / 1e9 < 13


def test_the_time_without_a_request_is_none_that_its_head_took(start_fake: StartFake) -> None:
    router = start_fake()
    client = router.client()
    router.wait(70)
    router.send(client, b"TRACE / HTTP/1.1\r\n\r\n")
    [ended] = router.server.observer.ended
    assert (ended.ns - ended.started_ns) / 1e9 < 3


@pytest.mark.parametrize(
    "raw",
    [
        b"hunter2 is my password\r\n\r\n",
        b"HUNTER2 /is/my/password HTTP/1.1\r\n\r\n",
        b"SECRET /is/my/password HTTP/1.1\r\n\r\n",
        b"sk-abc123 /home/user/private\r\n\r\n",
        b"GET /home/user/private\r\n\r\n",
        b"GET /home/user/private of mine HTTP/1.1\r\n\r\n",
        b"GET /home/user/private HTTP/1.1 x\r\n\r\n",
        b"GET /home/user/private HTTP/1.1",
    ],
)
def test_nothing_is_told_of_what_is_no_request_line(raw: bytes) -> None:
    assert read_refused(raw) == RefusedHead(None, None, None)


@pytest.mark.parametrize("end", [b"?key=secret", b"#access_token=secret", b"#?", b"?#", b""])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_only_the_path_is_told_of_a_target(end: bytes, line_end: bytes) -> None:
    raw = b"\r\nGET /a" + end + b" HTTP/1.1" + line_end
    assert read_refused(raw) == RefusedHead(b"GET", b"/a", None)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\n\r\n"])
@pytest.mark.parametrize("begin", [b"", b"\r\n"])
def test_the_id_is_never_that_of_a_body(begin: bytes, end: bytes) -> None:
    line = begin + b"TRACE / HTTP/1.1\r\n"
    field = b"X-Request-Id: theirs\r\n"
    assert read_refused(line + b"Host: r" + end + b"a\r\n" + field).request_id is None
    head = line + b"X-Request-Id: mine\r\nHost: r" + end
    assert read_refused(head + b"a\r\n" + field).request_id == b"mine"


def test_a_body_that_came_with_a_refused_head_is_not_read_for_its_id(
    start_fake: StartFake,
) -> None:
    router = start_fake()
    refuse(router, [b"POST / HTTP/1.1\r\nExpect: gold\r\nHost: r\r\n\r\n\r\n" + ID])
    [ended] = router.server.observer.ended
    assert ended.request_id != b"mine"


def test_nothing_is_read_where_there_is_nothing() -> None:
    assert read_refused(b"") == RefusedHead(None, None, None)
    assert read_refused(b"GET http://user:pw@r/ HTTP/1.1\r\n\r\n").path is None
