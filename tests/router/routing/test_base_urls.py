"""Base URLs as their users write them: with a slash too many, and without the version."""

from __future__ import annotations

import json
from pathlib import Path

import openai
import pytest
from llmhop.config.backend_url import parse_backend_url
from llmhop.http.head import parse_request_head
from llmhop.routing.target import backend_target

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import OK, RunningRouter, ask, chat, post, respond_bytes

NAMES = ["m", "org/x y", "s3://bucket/x"]


@pytest.fixture
def router(start_router: StartRouter) -> RunningRouter:
    return start_router(dict.fromkeys(NAMES, "http://127.0.0.1:1"), authTokens=["t"])


def get(path: str, *fields: str) -> bytes:
    """A request as clients send it."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: r", *fields, "", ""]).encode()


@pytest.mark.parametrize(
    ("right", "spellings"),
    [
        (
            "/v1/models",
            "/v1/models/ /v1//models //v1/models /v1//models// /models /models/ //models",
        ),
        ("/v1/models/m", "/v1/models/m/ /v1//models//m /models/m /models/m/ /models//m"),
        ("/v1/models/org/x%20y", "/models/org%2Fx%20y /v1/models//org//x%20y/"),
        ("/v1/models/s3%3A%2F%2Fbucket%2Fx", "/models/s3://bucket/x /v1//models/s3:///bucket//x"),
        ("/v1/models/none", "/models/none /v1/models//none/"),
        ("/health", "/health/ //health //health//"),
        ("/ready", "/ready/ //ready"),
    ],
)
def test_a_page_of_llmhop_is_found_by_each_spelling(
    right: str, spellings: str, router: RunningRouter
) -> None:
    fields = ("Authorization: Bearer t", "X-Request-Id: same")
    expected = ask(router.port, get(right, *fields))
    for path in spellings.split():
        found = ask(router.port, get(path, *fields))
        assert (path, found.status, found.body) == (path, expected.status, expected.body)


@pytest.mark.parametrize("path", ["/metrics/", "//metrics", "//metrics//?a=//"])
def test_the_metrics_are_found_by_each_spelling(path: str, router: RunningRouter) -> None:
    found = ask(router.port, get(path, "Authorization: Bearer t"))
    assert found.status == 200
    assert b"# HELP llmhop_" in found.body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health/", 200),
        ("//health", 200),
        ("/ready/", 503),
        ("/v1/models/", 401),
        ("/models", 401),
        ("/metrics/", 401),
        ("/healthy", 401),
        ("/v1/health", 401),
        ("/health//x", 401),
    ],
)
def test_another_spelling_needs_a_token_as_the_right_one_does(
    path: str, status: int, router: RunningRouter
) -> None:
    assert ask(router.port, get(path)).status == status


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        ("/v1//chat/completions", "/v1/chat/completions"),
        ("//v1///x//?a=//b&c=http://d", "/v1/x/?a=//b&c=http://d"),
        ("/v1/x%2F%2Fy", "/v1/x%2F%2Fy"),
        ("/v1/x?a=//", "/v1/x?a=//"),
        ("/v1/models/s3://a//b", "/v1/models/s3://a/b"),
        ("http://h//v1//x", "/v1/x"),
        ("/" * 60_000 + "x", "/x"),
    ],
)
def test_a_run_of_slashes_in_a_path_is_one(target: str, forwarded: str) -> None:
    head, _ = parse_request_head(post(b"", target))
    assert head.target == forwarded.encode()
    assert head.path == forwarded.partition("?")[0].encode()


@pytest.mark.parametrize("path", ["/v1//..//x", "//../x", "/a//%2e%2e//b"])
def test_more_slashes_open_no_way_out_of_the_backends_path(
    path: str, router: RunningRouter
) -> None:
    assert ask(router.port, post(chat(), path, "Authorization: Bearer t")).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/chat/completions?a=1",
        "/responses",
        "/responses/resp_1/cancel",
        "/audio/transcriptions",
        "/images/generations",
    ],
)
def test_a_path_of_openai_without_its_version_gets_it(path: str) -> None:
    for url in ("http://127.0.0.1:8000", "unix:/run/engine.sock"):
        asked = backend_target(parse_backend_url(url), b"POST", path.encode())
        assert asked == b"/v1" + path.encode()


ROOT = parse_backend_url("http://127.0.0.1:8000")


@pytest.mark.parametrize("path", [b"/models", b"/models?a=/x"])
def test_only_a_backends_list_of_models_gets_v1_and_only_where_it_is_read(path: bytes) -> None:
    for method in (b"GET", b"HEAD"):
        assert backend_target(ROOT, method, path) == b"/v1" + path
    for method in (b"POST", b"DELETE", b"get"):
        assert backend_target(ROOT, method, path) == path


@pytest.mark.parametrize(
    "path",
    [
        # llama.cpp as a router of models, and LocalAI
        *(b"/models/load", b"/models/unload", b"/models/apply", b"/models/available"),
        *(b"/models/jobs/1", b"/models/m", b"/models/"),
    ],
)
def test_what_engines_have_below_their_models_stays_where_it_is(path: bytes) -> None:
    for method in (b"GET", b"POST"):
        assert backend_target(ROOT, method, path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/chat/completions", "/chat", "/chat/completionsx", "/modelsx", "/x/models", "/"),
        *("/completions", "/embeddings", "/metrics", "/tokenize", "/?/models", "/audiox"),
    ],
)
def test_any_other_path_stays_as_it_is(path: str) -> None:
    for method in (b"GET", b"POST"):
        assert backend_target(ROOT, method, path.encode()) == path.encode()


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://api.example", "/chat/completions"),
        ("http://h/v1", "/v1/chat/completions"),
        ("http://h/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("http://h/", "/chat/completions"),
        ("unix:/run/engine.sock:/v1", "/v1/chat/completions"),
    ],
)
def test_a_url_that_says_where_the_api_is_has_the_last_word(url: str, asked: str) -> None:
    found = backend_target(parse_backend_url(url), b"POST", b"/chat/completions")
    assert found == asked.encode()


@pytest.mark.parametrize(
    ("url", "target", "asked"),
    [
        ("https://h/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("https://h/v1/", "/v1/chat/completions?a=1", "/v1/chat/completions?a=1"),
        ("https://h/openai/v1?k=1", "/v1/models?a=1", "/openai/v1/models?k=1&a=1"),
        ("http://h/route/m/v1", "/v1/rerank", "/route/m/v1/rerank"),
        ("unix:/run/engine.sock:/v1", "/v1/embeddings", "/v1/embeddings"),
        ("https://h/v1", "/v1", "/v1"),
        ("https://h/v1/", "/v1?a=1", "/v1/?a=1"),
        ("https://h/v1", "/v1beta/x", "/v1/v1beta/x"),
        ("https://h/v1", "/rerank", "/v1/rerank"),
        ("https://h/v1", "/x/v1/rerank", "/v1/x/v1/rerank"),
        ("https://h/xv1", "/v1/rerank", "/xv1/v1/rerank"),
        ("https://h/v1/x", "/v1/rerank", "/v1/x/v1/rerank"),
        ("https://h/v2", "/v1/rerank", "/v2/v1/rerank"),
    ],
)
def test_a_base_url_with_the_version_and_a_path_with_it_have_it_once(
    url: str, target: str, asked: str
) -> None:
    assert backend_target(parse_backend_url(url), b"GET", target.encode()) == asked.encode()


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("/chat/completions", "POST /v1/chat/completions HTTP/1.1"),
        ("//chat//completions", "POST /v1/chat/completions HTTP/1.1"),
        ("/route/m/chat/completions", "POST /v1/chat/completions HTTP/1.1"),
        ("/route/m//v1//chat/completions", "POST /v1/chat/completions HTTP/1.1"),
        ("/route/m", "POST / HTTP/1.1"),
        ("/route/m/", "POST / HTTP/1.1"),
        ("//route//m//", "POST / HTTP/1.1"),
        ("/route/m/models/load", "POST /models/load HTTP/1.1"),
    ],
)
@pytest.mark.parametrize("kind", ["json", "form"])
def test_a_backend_is_asked_for_what_the_right_base_url_would_give(
    target: str, line: str, kind: str, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    form = b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--b--\r\n"
    typed = "Content-Type: multipart/form-data; boundary=b"
    raw = post(chat(), target) if kind == "json" else post(form, target, typed)
    assert ask(router.port, raw).status == 200
    assert [request.line for request in backend.requests] == [line]


def test_a_backend_s_list_is_asked_for_with_the_version(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    assert ask(start_router({"m": backend}).port, get("/route/m/models")).status == 200
    assert [request.line for request in backend.requests] == ["GET /v1/models HTTP/1.1"]


@pytest.mark.parametrize("base", ["/v1", "/v1/", "/v1//", "", "/", "/route/m", "/route/m/v1/"])
def test_the_python_client_of_openai_finds_its_way_from_each_base_url(
    base: str, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(respond_bytes(OK))
    router = start_router({"m": backend})
    client = openai.OpenAI(base_url=router.url + base, api_key="none", max_retries=0)
    with client:
        answer = client.chat.completions.with_raw_response.create(model="m", messages=[])
        assert answer.status_code == 200
        if "route" not in base:
            assert [model.id for model in client.models.list()] == ["m"]
            assert client.models.retrieve("m").id == "m"
    assert [request.line for request in backend.requests] == ["POST /v1/chat/completions HTTP/1.1"]


def test_a_backend_on_a_unix_socket_is_asked_so_too(
    start_backend: StartBackend, start_router: StartRouter, tmp_path: Path
) -> None:
    backend = start_backend(path=tmp_path / "s")
    router = start_router({"m": f"unix:{tmp_path}/s"})
    answer = ask(router.port, post(chat(), "/chat/completions"))
    assert json.loads(answer.body) == json.loads(chat())
    assert backend.requests[0].line == "POST /v1/chat/completions HTTP/1.1"
