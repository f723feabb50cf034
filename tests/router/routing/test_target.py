"""Models that path and query name, aliases, and models that are not in the list."""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote, unquote

import pytest
from llmhop.http.body import urlencoded
from llmhop.http.body.json_scanner import MAX_NAMES
from llmhop.limits import MAX_QUOTED_NAME_BYTES
from llmhop.routing.target import read_target, split_route

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import Backend, RunningRouter, Wire, chat, post

AUDIO = b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--b--\r\n"


@pytest.fixture
def backends(start_backend: StartBackend) -> dict[str, Backend]:
    return {name: start_backend() for name in ("m", "n", "org/x y")}


@pytest.fixture
def router(backends: dict[str, Backend], start_router: StartRouter) -> RunningRouter:
    """Models m (also known as gpt and é), n and org/x y; n is not in the list."""
    router = start_router(backends)
    models: dict[str, dict[str, object]] = {n: {"url": b.url} for n, b in backends.items()}
    models["m"]["aliases"] = ["gpt", "é"]
    models["n"]["unlisted"] = True
    router.reload({"models": models})
    return router


@pytest.mark.parametrize(
    ("target", "model", "forwarded"),
    [
        ("/route/m/metrics", "m", "/metrics"),
        ("/route/m", "m", "/"),
        ("/route/m/", "m", "/"),
        ("/route/m?a=1", "m", "/?a=1"),
        ("/route/m//x", "m", "/x"),
        ("/route/m/route/n/x", "m", "/route/n/x"),
        ("/route/m/v1/models", "m", "/v1/models"),
        ("/route/m/health", "m", "/health"),
        ("/route/org%2Fx%20y/x?y=%20", "org/x y", "/x?y=%20"),
        ("/route/gpt/metrics", "m", "/metrics"),
        ("/route/%C3%A9/metrics", "m", "/metrics"),
        ("/v1/x?model=m", "m", "/v1/x?model=m"),
        ("/v1/x?a=b&model=org%2fx+y&c", "org/x y", "/v1/x?a=b&model=org%2fx+y&c"),
        ("/v1/x?a=b&mod%65l=n", "n", "/v1/x?a=b&mod%65l=n"),
        ("/v1/x?model=m&model=m", "m", "/v1/x?model=m&model=m"),
        ("/v1/x?model=gpt&Model=m&model=%C3%A9", "m", "/v1/x?model=m&Model=m&model=m"),
        ("/v1/x?a=%26&model=gpt&b=", "m", "/v1/x?a=%26&model=m&b="),
        ("/route/m/x?model=gpt", "m", "/x?model=m"),
        ("/route/n/x?model=n", "n", "/x?model=n"),
        ("/v1/x?a;b=1&model=m&c;d", "m", "/v1/x?a;b=1&model=m&c;d"),
        ("/v1/x?Model=n&x", "n", "/v1/x?Model=n&x"),
        ("/v1/x?m%4FDEL=gpt", "m", "/v1/x?m%4FDEL=m"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_path_and_query_name_a_model_for_what_has_none_in_its_body(
    method: str,
    target: str,
    model: str,
    forwarded: str,
    router: RunningRouter,
    backends: dict[str, Backend],
) -> None:
    with Wire(router.port) as wire:
        if method == "GET":
            wire.send(f"GET {target} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        else:
            wire.send(post(AUDIO, target, "Content-Type: multipart/form-data; boundary=b"))
        assert wire.response().status == 200
    (received,) = backends[model].requests
    assert received.line == f"{method} {forwarded} HTTP/1.1"
    assert received.body == (AUDIO if method == "POST" else b"")
    assert sum(len(backend.requests) for backend in backends.values()) == 1


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/route/m/x?model=n", b""),
        ("/route/m/x", chat("n")),
        ("/route/m/x", chat("nothing")),
        ("/v1/x?model=m", chat("n")),
        ("/v1/x?model=m&model=n", b""),
        ("/v1/x?model=m&model=", b""),
        ("/route/m/x?model=gpt", chat("n")),
        ("/v1/x?Model=m", chat("n")),
        ("/v1/x?a&MOD%45L=n", chat("m")),
        ("/v1/x?model=m&moDel=n", b""),
        ("/route/m/x?Model=n", b""),
    ],
)
def test_two_models_in_one_request_are_an_error_and_reach_no_backend(
    target: str, body: bytes, router: RunningRouter, backends: dict[str, Backend]
) -> None:
    with Wire(router.port) as wire:
        wire.send(post(body, target) + post(chat()))
        response = wire.response()
        assert (response.status, response.error_code) == (400, "conflicting_models")
        assert wire.response().status == 200
    assert [len(backend.requests) for backend in backends.values()] == [1, 0, 0]


@pytest.mark.parametrize("query", ["x=1;model=n", "model=n;x=1", "model=m;model=n", "a&;%4dodel=n"])
@pytest.mark.parametrize("path", ["/v1/x", "/route/m/v1/x"])
def test_a_model_beside_a_semicolon_is_refused(
    query: str, path: str, router: RunningRouter, backends: dict[str, Backend]
) -> None:
    form = "Content-Type: multipart/form-data; boundary=b"
    for raw in (post(chat(), f"{path}?{query}"), post(AUDIO, f"{path}?{query}", form)):
        with Wire(router.port) as wire:
            wire.send(raw)
            response = wire.response()
            assert response.status == 400
            assert b'"param":"model"' in response.body
    assert not any(backend.requests for backend in backends.values())


@pytest.mark.parametrize("target", ["/v1/x?", "/route/m/v1/x?", "/route/gpt/v1/x?a=b&"])
def test_a_query_may_name_its_model_as_often_as_a_body(
    target: str, router: RunningRouter, backends: dict[str, Backend]
) -> None:
    with Wire(router.port) as wire:
        wire.send(post(chat("gpt"), target + "model=gpt&" * MAX_NAMES))
        assert wire.response().status == 200
        wire.send(post(chat("gpt"), target + "model=gpt&" * (MAX_NAMES + 1)))
        response = wire.response()
    assert response.status == 400
    assert b"The 'model' of the query or form is there more than 100 times." in response.body
    (received,) = backends["m"].requests
    query = target.partition("?")[2] + "model=m&" * MAX_NAMES
    assert received.line == f"POST /v1/x?{query} HTTP/1.1"


DOUBTFUL = {
    "not a string, then another": b'{"model":5,"model":"n"}',
    "NaN": b'{"x":NaN,"model":"n"}',
    "half of an emoji": b'{"x":"\\ud83d","model":"n"}',
    "a BOM": b'\xef\xbb\xbf{"model":"n"}',
    "UTF-16": '{"model":"n"}'.encode("utf-16"),
    "UTF-16 without a BOM": '{"model":"n"}'.encode("utf-16-le"),
    "UTF-32": '{"model":"n"}'.encode("utf-32-be"),
    "990 levels": b'{"x":' + b"[" * 990 + b"]" * 990 + b',"model":"n"}',
    "the first of two": b'{"model":"n","model":"m"}',
    "in capitals": b'{"MODEL":"n"}',
    "in capitals beside the right one": b'{"model":"m","Model":"n"}',
    "with an escape that is none": b'{"mod\\el":"n","model":"m"}',
    "with a byte that is not UTF-8": b'{"model":"m","mod\xffel":"n"}',
    "a second value": b'{"model":"n"}' + b" " * 70_000 + b'{"model":"m"}',
    "a large one with escapes": b'{"m\\u006fdel":"n","x":"' + b"x" * 70_000 + b'"}',
    "no end": b'{"model":"n","x":"' + b"x" * 70_000,
}


@pytest.mark.parametrize("target", ["/v1/x?model=m", "/route/m/v1/x"])
@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_model_that_only_some_readers_find_is_an_error(
    name: str, target: str, router: RunningRouter, backends: dict[str, Backend]
) -> None:
    with Wire(router.port) as wire:
        wire.send(post(DOUBTFUL[name], target) + post(chat()))
        assert wire.response().status == 400
        assert wire.response().status == 200
    assert [len(backend.requests) for backend in backends.values()] == [1, 0, 0]


GZIP = gzip.compress(b'{"model":"n"}')
CODED = {
    "gzip": (GZIP, "Content-Encoding: gzip"),
    "gzip with a readable end": (GZIP + b"x" * 70_000 + chat("m"), "content-encoding:GZIP"),
    "several": (GZIP, "Content-Encoding: gzip, zstd"),
    "twice": (chat("m"), "Content-Encoding: identity\r\nContent-Encoding: br"),
    "an underscore": (chat("m"), "Content_Encoding: gzip"),
    "a form": (AUDIO, "Content-Type: multipart/form-data; boundary=b\r\nContent-Encoding: gzip"),
}


@pytest.mark.parametrize("target", ["/v1/x", "/v1/x?model=m"])
@pytest.mark.parametrize("name", CODED)
def test_a_body_in_a_content_coding_is_refused(
    name: str, target: str, router: RunningRouter, backends: dict[str, Backend]
) -> None:
    with Wire(router.port) as wire:
        wire.send(post(CODED[name][0], target, CODED[name][1]))
        response = wire.response()
    assert (response.status, response.error_code) == (415, "unsupported_content_encoding")
    assert response.headers["accept-encoding"] == "identity"
    with Wire(router.port) as wire:
        wire.send(post(chat("m"), "/v1/x", "Content-Encoding: identity"))
        assert wire.response().status == 200
        wire.send(b"GET /v1/x?model=m HTTP/1.1\r\nHost: r\r\nContent-Encoding: gzip\r\n\r\n")
        assert wire.response().status == 200
    assert [len(backend.requests) for backend in backends.values()] == [2, 0, 0]


FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.mark.parametrize("body", [b"model=n", b"a=1&mod%65l=n", b"a=1;model=n", b"MODEL=n"])
def test_the_model_of_a_form_conflicts_like_all_others(
    body: bytes, router: RunningRouter, backends: dict[str, Backend]
) -> None:
    with Wire(router.port) as wire:
        wire.send(post(body, "/v1/x?model=m", FORM))
        assert wire.response().status == 400
        wire.send(post(b"a=1&model=gp%74&b=2", "/v1/x?model=gpt", FORM))
        assert wire.response().status == 200
        wire.send(post(b"model=m", "/v1/x", FORM))
        assert wire.response().status == 200
    assert [request.body for request in backends["m"].requests] == [
        b"a=1&model=m&b=2",
        b"model=m",
    ]
    assert not backends["n"].requests


@pytest.mark.parametrize("size", [10, 60_000, 70_000, 3_000_000])
def test_an_alias_is_replaced_in_any_body_that_is_relayed(
    size: int, router: RunningRouter, backends: dict[str, Backend]
) -> None:
    body = b'{"x":"\\ud83d","y":NaN,"mod\\u0065l" : "g\\u0070t","z":"%b"}' % (b"z" * size)
    with Wire(router.port) as wire:
        wire.send(post(body) + post(body, "/route/gpt/v1/x"))
        assert [wire.response().status for _ in "12"] == [200, 200]
    renamed = body.replace(b'"g\\u0070t"', b'"m"')
    for request in backends["m"].requests:
        assert request.body == renamed
        assert request.values("content-length") == [str(len(renamed))]


@pytest.mark.parametrize("target", ["/route/no/x", "/route//x", "/route/%FF/x", "/x?model=no"])
def test_an_unknown_model_in_path_or_query_is_not_found(target: str, router: RunningRouter) -> None:
    with Wire(router.port) as wire:
        wire.send(post(b"", target))
        response = wire.response()
        assert (response.status, response.error_code) == (404, "model_not_found")


LONG = "%41" * 10_000
ALIKE = "&".join(["model=" + "%41" * n + "A" * (60 - n) for n in range(60)])


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"/route/{LONG}/x", 404),
        (f"/route/{'%' * 60_000}/x", 404),
        (f"/x?model={LONG}", 404),
        (f"/x?model={LONG}&model={LONG}", 404),
        (f"/x?model=m&model={LONG}", 400),
        (f"/x?{ALIKE}", 400),
        (f"/v1/models/{LONG}", 404),
        (f"/ready?model={LONG}", 404),
    ],
)
def test_a_name_that_is_too_long_for_a_model_is_not_decoded(
    target: str, status: int, router: RunningRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []

    def decoded(text: str, errors: str) -> str:
        lengths.append(len(text))
        return unquote(text, errors=errors)

    monkeypatch.setattr(urlencoded, "unquote", decoded)
    with Wire(router.port) as wire:
        wire.send(f"GET {target} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        response = wire.response()
    assert response.status == status
    assert len(response.body) < 1_000
    assert sum(lengths) <= MAX_QUOTED_NAME_BYTES


@pytest.mark.parametrize("target", ["/v1/x?model={0}", "/v1/x?model={0}&model={0}", "/route/{0}"])
def test_a_name_as_long_as_may_be_is_found_as_it_is_quoted(
    target: str, backends: dict[str, Backend], start_router: StartRouter
) -> None:
    name = "é" * (MAX_QUOTED_NAME_BYTES // 6)
    router = start_router({name: backends["m"]})
    with Wire(router.port) as wire:
        wire.send(post(b"", target.format(quote(name))))
        assert wire.response().status == 200


@pytest.mark.parametrize("path", ["/route/m/../x", "/route/../x", "/route/m/%2e%2e/x"])
def test_the_prefix_opens_no_way_out_of_the_backends_path(path: str, router: RunningRouter) -> None:
    with Wire(router.port) as wire:
        wire.send(post(b"", path))
        assert wire.response().status == 400


def test_names_of_one_model_agree_and_the_backend_gets_the_models_own(
    router: RunningRouter, backends: dict[str, Backend]
) -> None:
    asked = b'{"a": 1.50, "model":"gpt", "b":{"model":"gpt","x":[1e3, "\xc3\xa9"]}}'
    with Wire(router.port) as wire:
        wire.send(post(asked) + post(asked, "/route/m/x?model=gpt") + post(chat("m")))
        for _ in range(3):
            assert wire.response().status == 200
    first, second, third = backends["m"].requests
    assert json.loads(first.body) == {**json.loads(asked), "model": "m"}
    assert b"1.50" in first.body
    assert first.values("content-length") == [str(len(first.body))]
    assert second.body == first.body
    assert second.line == "POST /x?model=m HTTP/1.1"
    assert third.body == chat("m")


def test_the_list_has_no_alias_and_nothing_unlisted_but_each_name_can_be_asked_for(
    router: RunningRouter,
) -> None:
    def get(path: str) -> dict[str, object]:
        wire.send(f"GET {path} HTTP/1.1\r\nHost: r\r\n\r\n".encode())
        response = wire.response()
        assert response.status == 200
        found: dict[str, object] = json.loads(response.body)
        return found

    with Wire(router.port) as wire:
        listed = get("/v1/models?model=n")["data"]
        assert isinstance(listed, list)
        assert [entry["id"] for entry in listed] == ["m", "org/x y"]
        assert get("/v1/models/gpt")["id"] == "m"
        assert get("/v1/models/n")["id"] == "n"


def test_the_prefix_of_a_path_is_behind_the_token(
    backends: dict[str, Backend], start_router: StartRouter
) -> None:
    router = start_router(backends, authTokens=["t"])
    with Wire(router.port) as wire:
        wire.send(b"GET /route/m/health HTTP/1.1\r\nHost: r\r\n\r\n")
        assert wire.response().status == 401


def test_a_target_without_a_model_names_none() -> None:
    for target in (b"/", b"/route", b"/v1/x?", b"/v1/x?modelx=1", b"/v1/x?a=model", b"/?%"):
        assert read_target(target).names == []


@pytest.mark.parametrize("target", [b"/route/foo://x/y?a=//", b"/route/foo:////x/y?a=//"])
def test_a_model_that_ends_in_a_colon_leaves_one_slash_before_the_path(target: bytes) -> None:
    named = read_target(target)
    assert (named.in_path, named.path, named.query) == ("foo:", b"/x/y", b"a=//")


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("/route/m", ("", "m")),
        ("/route/m/", ("", "m")),
        ("/llm/route/org%2Fx%20y", ("/llm", "org/x y")),
        ("/route/m/route/n", ("/route/m", "n")),
        ("", ("", None)),
        ("/", ("/", None)),
        ("/v1", ("", None)),
        ("/route/", ("/route/", None)),
        ("/route/m/v1", ("", "m")),
        ("/llm/route/m/v1/", ("/llm", "m")),
        ("/route/v1", ("", "v1")),
        ("/v2", ("/v2", None)),
        ("/route/m/v2", ("/route/m/v2", None)),
        ("/route//", ("/route//", None)),
    ],
)
def test_the_path_of_a_url_that_leads_to_one_model(
    path: str, split: tuple[str, str | None]
) -> None:
    assert split_route(path) == split
