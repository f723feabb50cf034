"""Max-Forwards and TRACE, which tell of proxies on the way (RFC 9110 sections 7.6.2, 9.3.8)."""

from __future__ import annotations

import pytest
from llmhop.errors import BadRequestError
from llmhop.http.head import parse_request_head

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.form_requests import END, FORM
from tests.router.support.corpus.forms import MODEL, part
from tests.router.support.endpoints import ask, chat, post

FORM_BODY = part(MODEL, b"m") + END
BODIES = {"JSON": (chat(), ()), "a form": (FORM_BODY, (FORM,)), "none": (b"", ())}


def request(method: bytes, body: bytes, *fields: str) -> bytes:
    return post(body, "/v1/x?model=m", *fields).replace(b"POST", method, 1)


@pytest.mark.parametrize(("body", "fields"), BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize(("hops", "seen"), [(0, None), (1, None), (2, "0"), (7, "5"), (None, "")])
def test_options_go_no_further_than_they_may(
    body: bytes,
    fields: tuple[str, ...],
    hops: int | None,
    seen: str | None,
    start_router: StartRouter,
    start_backend: StartBackend,
) -> None:
    engine = start_backend()
    inner = start_router({"m": engine.url})
    front = start_router({"m": f"{inner.url}/route/m"})
    limit = () if hops is None else (f"max-FORWARDS: {hops}",)
    response = ask(front.port, request(b"OPTIONS", body, *fields, *limit))
    assert response.status == 200
    if seen is None:
        assert (response.body, engine.requests) == (b"{}", [])
    else:
        (received,) = engine.requests
        assert received.values("max-forwards") == ([seen] if seen else [])
        assert received.body == body


def test_other_methods_take_it_along_as_it_is(
    start_router: StartRouter, start_backend: StartBackend
) -> None:
    engine = start_backend()
    router = start_router({"m": engine.url})
    assert ask(router.port, request(b"POST", chat(), "Max-Forwards: 0")).status == 200
    assert engine.requests[0].values("max-forwards") == ["0"]


@pytest.mark.parametrize("value", ["", "x", "-1", "1.0", "1, 2", "9" * 10, "1\r\nMax-Forwards: 1"])
def test_what_is_not_one_number_is_refused(value: str) -> None:
    raw = f"OPTIONS / HTTP/1.1\r\nHost: r\r\nMax-Forwards: {value}\r\n\r\n".encode()
    with pytest.raises(BadRequestError, match="Max-Forwards"):
        parse_request_head(raw)


def test_a_request_is_sent_back_to_nobody(
    start_router: StartRouter, start_backend: StartBackend
) -> None:
    engine = start_backend()
    router = start_router({"m": engine.url})
    response = ask(router.port, request(b"TRACE", b"", "Cookie: secret", "Max-Forwards: 3"))
    assert (response.status, b"secret" in response.body) == (501, False)
    assert engine.requests == []


def test_a_client_without_a_token_learns_nothing_of_the_hops(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"}, authTokens=["token"])
    assert ask(router.port, request(b"OPTIONS", b"", "Max-Forwards: 0")).status == 401
