"""A backend behind TLS, with certificates made for the test."""

from __future__ import annotations

import pytest
import trustme

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.certificates import certified
from tests.router.support.endpoints import Wire, ask, chat, post
from tests.router.support.scrape import Scrape


def test_a_backend_with_a_trusted_certificate_is_used_and_its_connection_kept(
    trusted_authority: trustme.CA, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(tls=certified(trusted_authority, "127.0.0.1"))
    router = start_router({"m": f"https://127.0.0.1:{backend.port}/prefix"})
    large = b'{"model":"m","x":"' + b"y" * 500_000 + b'"}'
    with Wire(router.port) as wire:
        for body in (chat(), large, chat()):
            wire.send(post(body))
            assert wire.response().body == body
    assert backend.connections == 1
    assert backend.requests[0].line == "POST /prefix/v1/chat/completions HTTP/1.1"
    assert backend.requests[0].values("host") == [f"127.0.0.1:{backend.port}"]


@pytest.mark.usefixtures("fresh_metrics")
@pytest.mark.parametrize(
    ("trusted", "host", "why"),
    [(True, "localhost", "certificate is not valid for"), (False, "127.0.0.1", "local issuer")],
    ids=["another host", "another authority"],
)
def test_a_backend_whose_certificate_is_not_trusted_gets_nothing_and_is_told_as_that(
    trusted: bool,
    host: str,
    why: str,
    trusted_authority: trustme.CA,
    start_backend: StartBackend,
    start_router: StartRouter,
    capfd: pytest.CaptureFixture[str],
) -> None:
    authority = trusted_authority if trusted else trustme.CA()
    backend = start_backend(tls=certified(authority, host))
    down = "http://127.0.0.1:1"
    url = f"https://127.0.0.1:{backend.port}"
    router = start_router({"m": url, "one of two": {"urls": [url, down]}})
    response = ask(router.port, post(chat()))
    assert (response.status, response.error_code) == (503, "backend_unavailable")
    assert b"The certificate of the backend of the model 'm' is not trusted." in response.body
    assert b"starting" not in response.body
    assert b"may be starting" in ask(router.port, post(chat("one of two"))).body
    assert backend.requests == []
    log = capfd.readouterr().err
    assert "has a certificate that is not trusted (" in log
    assert why in log
    scrape = Scrape(router.port)
    assert scrape.value("llmhop_backend_failures_total", model="m", kind="certificate") == 1
