"""What browsers are told of whose page may ask, by real connections to backends that say more."""

from __future__ import annotations

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import MODELS, OK, Wire, ask, chat, post, respond_bytes
from tests.router.support.websocket import AGREE, ASK

APP = "https://app.example"
EVIL = "https://evil.example"
CORS = {"origins": [APP]}
ANSWER = (
    b"HTTP/1.1 %b\r\nAccess-Control-Allow-Origin: *\r\naccess-control-allow-credentials: true\r\n"
    b"X-A: 1\r\n%b\r\n"
)
LENGTH = b"Content-Length: 2\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODIES = {
    "a length": (ANSWER % (b"200 OK", LENGTH)) + b"ok",
    "chunks": (ANSWER % (b"200 OK", CHUNKED)) + b"2\r\nok\r\n0\r\n\r\n",
    "an error": (ANSWER % (b"500 No", LENGTH)) + b"no",
    "nothing": ANSWER % (b"204 No Content", b""),
}
FORM = b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--b--\r\n"
FORM_TYPE = "Content-Type: multipart/form-data; boundary=b"


def get(path: str, *fields: str, host: str = "localhost", method: str = "GET") -> bytes:
    """A request as browsers send it."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


def from_page(origin: str) -> str:
    return f"Origin: {origin}"


def allowed(headers: dict[str, str], origin: str = APP) -> bool:
    """Whether a page may read what has these headers, each of which came once."""
    found = {key: value for key, value in headers.items() if key.startswith("access-control-")}
    if not found:
        return False
    assert found == {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "*",
    }
    assert headers["vary"] == "Origin"
    return True


@pytest.mark.parametrize("answer", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("tokens", [[], ["t"]], ids=["open", "with a token"])
def test_an_allowed_page_may_read_what_a_backend_answers_and_hears_it_once(
    answer: bytes, tokens: list[str], start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend(respond_bytes(answer))}, cors=CORS, authTokens=tokens)
    with Wire(router.port) as wire:
        # One connection and one cache of heads for pages and others.
        for origin in (APP, None, APP, EVIL if tokens else APP, None):
            fields = [] if origin is None else [from_page(origin)]
            wire.send(post(chat(), "/v1/x", "Authorization: Bearer t", *fields))
            response = wire.response()
            assert response.headers["x-a"] == "1"
            assert allowed(response.headers) == (origin == APP)


def test_what_was_read_without_an_origin_is_no_answer_to_a_page(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    """A browser that keeps what an image asked for, must ask again for the page's script."""
    backend = start_backend(
        respond_bytes(b"HTTP/1.1 103 Early\r\nAccess-Control-X: 1\r\n\r\n" + OK)
    )
    router = start_router({"m": backend}, cors=CORS)
    with Wire(router.port) as wire:
        for method in ("GET", "HEAD"):
            wire.send(get("/route/m/x", method=method))
            assert [*wire.head()] == [103, {}]
            status, headers = wire.head()
            assert (status, headers["vary"], allowed(headers)) == (200, "Origin", False)
            if method == "GET":
                wire.file.read(int(headers["content-length"]))


def test_where_every_page_may_read_the_answer_is_the_same_for_all(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(respond_bytes(BODIES["a length"]))
    router = start_router({"m": backend}, cors={"origins": ["*"]})
    for raw in (get("/route/m/x"), get("/route/m/x", from_page(EVIL)), get("/v1/models")):
        headers = ask(router.port, raw).headers
        assert headers["access-control-allow-origin"] == "*"
        assert "vary" not in headers


def test_a_form_of_an_allowed_page_is_answered(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend(respond_bytes(BODIES["a length"]))}, cors=CORS)
    answer = ask(router.port, post(FORM, "/v1/x", FORM_TYPE, from_page(APP)))
    assert answer.status == 200
    assert allowed(answer.headers)


OWN = {
    "the list": (get("/v1/models", from_page(APP), "Authorization: Bearer t"), 200),
    "metrics": (get("/metrics", from_page(APP), "Authorization: Bearer t"), 200),
    "readiness": (get("/ready", from_page(APP)), 503),
    "no token": (get("/v1/models", from_page(APP)), 401),
    "no token, with a body": (post(chat(), "/v1/x", from_page(APP)), 401),
    "no model": (post(b"{}", "/v1/x", from_page(APP), "Authorization: Bearer t"), 400),
    "no such model": (post(chat("n"), "/v1/x", from_page(APP), "Authorization: Bearer t"), 404),
    "no such form": (
        post(FORM[:-9], "/x", FORM_TYPE, from_page(APP), "Authorization: Bearer t"),
        400,
    ),
    "too large": (
        post(chat() + b" " * 2000, "/v1/x", from_page(APP), "Authorization: Bearer t"),
        413,
    ),
    "no backend": (post(chat(), "/v1/x", from_page(APP), "Authorization: Bearer t"), 503),
    "a HEAD": (get("/health", from_page(APP), method="HEAD"), 200),
}


@pytest.mark.parametrize(("raw", "status"), OWN.values(), ids=OWN)
def test_an_allowed_page_may_read_llmhop_s_own_answers_and_errors(
    raw: bytes, status: int, start_router: StartRouter
) -> None:
    router = start_router(dict(MODELS), cors=CORS, authTokens=["t"], maxBodyBytes=1000)
    for origin in (APP, EVIL, None):
        sent = raw.replace(APP.encode(), (origin or "").encode())
        if origin is None:
            sent = sent.replace(b"Origin: \r\n", b"")
        with Wire(router.port) as wire:
            wire.send(sent)
            found, headers = wire.head()
        assert (found, allowed(headers)) == (status, origin == APP)
        reads = raw.startswith((b"GET", b"HEAD"))
        assert (headers.get("vary") == "Origin") == (reads or origin == APP)


def test_what_cannot_be_read_says_nothing_of_the_origin_of_what_came_before(
    start_router: StartRouter,
) -> None:
    router = start_router(dict(MODELS), cors=CORS)
    with Wire(router.port) as wire:
        wire.send(get("/health", from_page(APP)))
        assert allowed(wire.response().headers)
        wire.send(b"GET / HTTP/1.1\r\nno field\r\n\r\n")
        response = wire.response()
        assert response.status == 400
        assert not allowed(response.headers)


def preflight(origin: str, path: str = "/v1/chat/completions", *fields: str) -> bytes:
    asked = (from_page(origin), "Access-Control-Request-Method: POST", *fields)
    return get(path, *asked, method="OPTIONS")


@pytest.mark.parametrize("tokens", [[], ["t"]], ids=["open", "with a token"])
@pytest.mark.parametrize(
    "path", ["/v1/x", "/route/m/x", "/route/none/x", "/v1/x?model=m", "/health"]
)
def test_a_preflight_is_answered_without_a_token_and_without_a_backend(
    path: str, tokens: list[str], start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, cors=CORS, authTokens=tokens)
    names = "authorization,content-type,x-stainless-os"
    with Wire(router.port) as wire:
        wire.send(
            preflight(APP, path, f"Access-Control-Request-Headers: {names}", "Max-Forwards: 0")
            + get("/health")
        )
        line = wire.file.readline()
        assert line == b"HTTP/1.1 204 No Content\r\n"
        fields = dict(
            field.decode().rstrip("\r\n").split(": ", 1)
            for field in iter(wire.file.readline, b"\r\n")
        )
        del fields["Date"], fields["X-Request-Id"]
        assert fields == {
            "Server": "llmhop",
            "Access-Control-Allow-Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
            "Access-Control-Max-Age": "7200",
            "Access-Control-Allow-Headers": names,
            "Access-Control-Allow-Origin": APP,
            "Access-Control-Expose-Headers": "*",
            "Vary": "Origin",
        }
        assert wire.response().body == b'{"status":"ok"}'
    assert backend.requests == []


@pytest.mark.parametrize("tokens", [[], ["t"]], ids=["open", "with a token"])
def test_a_preflight_of_another_page_is_refused_and_nothing_allowed(
    tokens: list[str], start_router: StartRouter
) -> None:
    router = start_router(dict(MODELS), cors=CORS, authTokens=tokens)
    with Wire(router.port) as wire:
        wire.send(preflight(EVIL) + get("/health"))
        response = wire.response()
        assert (response.status, response.error_code) == (403, "origin_not_allowed")
        assert EVIL in str(response.error["message"])
        assert "cors.origins" in str(response.error["message"])
        assert not allowed(response.headers)
        assert wire.response().status == 200


def test_options_of_others_goes_on_to_the_backend(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, cors=CORS)
    for fields in ([], [from_page(APP)], ["Access-Control-Request-Method: POST"]):
        assert ask(router.port, get("/route/m/x", *fields, method="OPTIONS")).status == 200
    assert [request.line for request in backend.requests] == ["OPTIONS /x HTTP/1.1"] * 3


SIMPLE = {
    # What a browser sends to any site without asking before.
    "a POST of text": post(chat(), "/v1/x", "Content-Type: text/plain", from_page(EVIL)),
    "a large one": post(
        chat() + b" " * 2**20, "/v1/x", "Content-Type: text/plain", from_page(EVIL)
    ),
    "an empty one": post(b"", "/route/m/reset", from_page(EVIL)),
    "a form": post(FORM, "/v1/x", FORM_TYPE, from_page(EVIL)),
    "an EventSource": get("/route/m/x", from_page(EVIL)),
    "an image": get("/route/m/x", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image"),
    "a HEAD": get("/route/m/x", "Sec-Fetch-Site: cross-site", method="HEAD"),
    "a link": get("/route/m/x", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"),
    "a page of a file": post(chat(), "/v1/x", from_page("null")),
    "a WebSocket": ASK.replace(
        b"\r\nConnection", b"\r\nOrigin: %b\r\nConnection" % EVIL.encode(), 1
    ),
}


@pytest.mark.parametrize("raw", SIMPLE.values(), ids=SIMPLE)
def test_where_no_token_is_asked_for_another_page_reaches_no_backend(
    raw: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(raw)
        status, headers = wire.head()
        assert status == 403
        assert not allowed(headers)
    assert backend.connections == 0


def test_a_page_opens_a_websocket_where_it_is_allowed(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend(respond_bytes(AGREE))}, cors=CORS)
    asked = ASK.replace(b"\r\nConnection", b"\r\nOrigin: %b\r\nConnection" % APP.encode(), 1)
    with Wire(router.port) as wire:
        wire.send(asked)
        status, headers = wire.head()
        assert status == 101
        assert allowed(headers)


def test_a_reload_changes_what_is_allowed_on_open_connections(start_router: StartRouter) -> None:
    router = start_router(dict(MODELS))
    asked = get("/v1/models", from_page(APP))
    with Wire(router.port) as wire:
        for cors, status in ((None, 403), (CORS, 200), ({"origins": [EVIL]}, 403), (CORS, 200)):
            router.reload({"models": MODELS, "cors": cors})
            wire.send(asked + asked)
            for _ in range(2):
                response = wire.response()
                assert (response.status, allowed(response.headers)) == (status, status == 200)


def test_the_last_word_on_pages_is_that_of_the_llmhop_they_ask(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    engine = start_backend()
    host = start_router({"m": engine}, cors={"origins": []}, authTokens=[])
    set_here = {"url": engine.url, "headers": {"Origin": "https://mine.example"}}
    front = start_router({"m": f"{host.url}/route/m", "n": set_here}, cors=CORS)
    for model in "mn":
        asked = post(chat(model), "/v1/x", from_page(APP), "Sec-Fetch-Site: cross-site")
        answer = ask(front.port, asked)
        assert (answer.status, allowed(answer.headers)) == (200, True)
    assert [r.values("origin") for r in engine.requests] == [[], ["https://mine.example"]]
