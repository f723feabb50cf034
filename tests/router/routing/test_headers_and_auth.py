"""What headers pass the router, and who may use it, seen from both ends of real connections."""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import partial

import pytest

from tests.router.conftest import StartBackend, StartFake, StartRouter
from tests.router.support.endpoints import Wire, chat, post, respond_bytes

RIGHT = "Authorization: Bearer right"


def test_fields_of_one_connection_do_not_pass_to_the_backend(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    fields = [
        "Connection: keep-alive, X-Secret-Hop",
        "X-Secret-Hop: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic x",
        "TE: trailers",
        "Upgrade: h2c",
        "X-Kept: 1",
        "x-kept: 2",
    ]
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", *fields))
        assert wire.response().status == 200
    got = backend.requests[0]
    assert got.values("x-kept") == ["1", "2"]
    for field in fields[:-2]:
        assert got.values(field.partition(":")[0]) == []


def test_fields_of_one_connection_do_not_pass_to_the_client(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(
        respond_bytes(
            b"HTTP/1.1 201 Made So\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nDate: now\r\n"
            b"Keep-Alive: timeout=5\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok"
        )
    )
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        response = wire.response()
    assert response.status == 201
    assert response.headers.pop("x-request-id")
    assert response.headers == {"date": "now", "x-kept": "1", "content-length": "2"}


def test_the_backend_learns_where_a_request_comes_from_and_no_client_can_forge_it(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    forged = [
        "X-Forwarded-For: 6.6.6.6",
        "x-forwarded-FOR: 6.6.6.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Port: 1",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        # Naming a field in Connection must not remove what the router sets.
        "Connection: X-Forwarded-For, Host, Content-Length",
    ]
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", *forged))
        assert wire.response().body == chat()
    got = backend.requests[0]
    assert got.values("host") == [f"127.0.0.1:{backend.port}"]
    assert got.values("x-forwarded-for") == ["127.0.0.1"]
    assert got.values("x-forwarded-proto") == ["http"]
    assert got.values("x-forwarded-host") == ["router"]
    for name in ("x-forwarded-port", "x-real-ip", "forwarded"):
        assert got.values(name) == []


def test_headers_of_the_config_override_the_clients_in_any_case(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    headers = {"authorization": "Bearer mine", "X-Org": "é", "X-Forwarded-For": "1.2.3.4"}
    models = {"m": {"url": backend.url, "headers": headers}}
    router = start_router({}, models=models)
    sent = ["AUTHORIZATION: Bearer client", "x-org: a", "X-ORG: b", "X_Org: c"]
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", *sent))
        assert wire.response().status == 200
    got = backend.requests[0]
    assert got.values("authorization") == ["Bearer mine"]
    assert got.values("x-org") == ["é"]
    assert got.values("x_org") == []
    assert got.values("x-forwarded-for") == ["1.2.3.4"]


@pytest.mark.parametrize(
    ("url_path", "target", "seen"),
    [
        ("", "/v1/chat?x=1", "/v1/chat?x=1"),
        ("/", "/v1/chat", "/v1/chat"),
        ("/openai", "/v1/chat?x=1", "/openai/v1/chat?x=1"),
        ("/openai/", "/v1/chat", "/openai/v1/chat"),
        ("/a%2Fb", "/v1/c%20d", "/a%2Fb/v1/c%20d"),
        ("/p?key=1", "/v1/chat", "/p/v1/chat?key=1"),
        ("/p?key=1", "/v1/chat?x=1", "/p/v1/chat?key=1&x=1"),
        ("/p", "http://router/v1/chat?x=1", "/p/v1/chat?x=1"),
    ],
)
def test_the_path_of_the_url_is_put_before_that_of_the_request(
    url_path: str, target: str, seen: str, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend.url + url_path})
    with Wire(router.port) as wire:
        wire.send(post(chat(), target))
        assert wire.response().status == 200
    assert backend.requests[0].line == f"POST {seen} HTTP/1.1"


def test_a_token_opens_the_router_and_goes_no_further(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, authTokens=["other", "right"])
    with Wire(router.port) as wire:
        for field in (RIGHT, "authorization: bearer  right"):
            wire.send(post(chat(), "/v1/x", field))
            assert wire.response().status == 200
    assert [request.values("authorization") for request in backend.requests] == [[], []]


def test_without_tokens_the_authorization_of_the_client_is_relayed(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", RIGHT))
        assert wire.response().status == 200
    assert backend.requests[0].values("authorization") == ["Bearer right"]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["Authorization: Bearer wrong"],
        ["Authorization: Bearer"],
        ["Authorization: right"],
        ["Authorization: Basic right"],
        ["Authorization: Bearer right x"],
        ["Authorization: Bearer rightx"],
        ["Authorization: Bearer wrong", RIGHT],
        [RIGHT, RIGHT],
        ["Proxy-Authorization: Bearer right"],
    ],
)
def test_without_a_valid_token_nothing_reaches_a_backend(
    fields: list[str], start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, authTokens=["right"])
    with Wire(router.port) as wire:
        wire.send(post(chat(), "/v1/x", *fields))
        response = wire.response()
        assert (response.status, response.error_code) == (401, "invalid_api_key")
        assert response.headers["www-authenticate"] == "Bearer"
        assert "right" not in response.body.decode()
        assert wire.at_end()
    with Wire(router.port) as wire:
        wire.send("\r\n".join(["GET /v1/models HTTP/1.1", "Host: r", *fields]).encode())
        wire.send(b"\r\n\r\nGET /health HTTP/1.1\r\nHost: r\r\n\r\n")
        assert wire.response().status == 401
        assert wire.response().status == 200, "/health asks for no token"
    assert backend.requests == []


DATE = "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ("", False),
        (f"X-Date: {DATE}", False),
        (f"Date: {DATE}", True),
        (f"date: {DATE}", True),
        (f"Connection: date\r\nDate: {DATE}", False),
    ],
)
@pytest.mark.parametrize("framing", ["Content-Length: 2", "X: y", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified", "503 No"])
def test_each_response_has_the_date_that_its_backend_gave_or_one(
    fields: str, kept: bool, framing: str, status: str, start_fake: StartFake
) -> None:
    router = start_fake()
    client = router.client()
    for _ in range(2):  # the second head is known already
        del client.sent[:]
        router.send(client, post(chat()))
        lines = [f"HTTP/1.1 {status}", *filter(None, (fields, framing)), "", ""]
        backend = router.backend()
        router.event(partial(backend.peer_sends, "\r\n".join(lines).encode()))
        head = bytes(client.sent).partition(b"\r\n\r\n")[0].decode()
        dates = re.findall(r"(?im)^date: (.*?)\r?$", head)
        assert len(dates) == 1
        assert (dates[0] == DATE) == kept
        assert parsedate_to_datetime(dates[0]).utcoffset() == timedelta(0)
        router.event(backend.peer_closes)
        client = router.client()
