"""An llmhop before another one changes nothing of a request, however it names its model."""

from __future__ import annotations

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.backends.fleet import CLOSED, ask
from tests.router.support.corpus.form_requests import END, head
from tests.router.support.corpus.forms import FILE, MODEL, part
from tests.router.support.endpoints import (
    chat,
    post,
)

FORM = part(MODEL, b"m") + part(FILE, b"y" * 200_000) + END
WAYS = [
    b"GET /route/m/metrics HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /route/m/health HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /route/m/ready?x HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /route/m/v1/models HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /route/alias/v1/models/x HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /route/m/route/n/x HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /route/m HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /route/m//x?a=%20&b HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /v1/x?model=alias&a=b HTTP/1.1\r\nHost: r\r\n\r\n",
    post(chat(), "/route/m/chat/completions"),
    post(chat(), "/chat/completions"),
    post(b'{"prompt":"hi"}', "/route/m/tokenize"),
    post(b"", "/route/m/reset"),
    post(b"not JSON", "/route/alias/x", "Content-Type: text/plain"),
    post(chat("alias"), "/route/m/v1/x?model=m"),
    post(chat("alias"), "/v1/x"),
    head(len(FORM), path="/route/m/v1/x") + FORM,
    head(len(FORM)) + FORM,
]


@pytest.mark.parametrize("raw", WAYS)
@pytest.mark.parametrize("fronts", [1, 2])
def test_the_engine_gets_what_it_would_without_a_front_however_the_model_is_named(
    raw: bytes, fronts: int, start_router: StartRouter, start_backend: StartBackend
) -> None:
    engine = start_backend()
    models = {"m": {"url": engine.url, "aliases": ["alias"]}, "n": {"url": CLOSED}}
    router = start_router(models)
    ports = [router.port]
    for _ in range(fronts):
        url = f"http://127.0.0.1:{ports[-1]}/route/m"
        ports.append(start_router({"m": {"url": url, "aliases": ["alias"]}}).port)
    answers = [ask(ports[at], raw) for at in (0, -1)]
    assert [answer.status for answer in answers] == [200, 200]
    direct, fronted = engine.requests
    assert fronted.line == direct.line
    assert fronted.body == direct.body
    assert answers[0].body == answers[1].body


@pytest.mark.parametrize(("aliases", "status"), [([], 400), (["m"], 200)])
def test_another_name_at_the_host_must_be_one_of_the_same_model(
    aliases: list[str], status: int, start_router: StartRouter, start_backend: StartBackend
) -> None:
    """What `llmhop --check` notes of such a url."""
    host = start_router({"other": {"url": start_backend().url, "aliases": aliases}})
    front = start_router({"m": f"{host.url}/route/other"})
    assert ask(front.port, post(chat())).status == status
