"""A backend behind TLS, with certificates made for the test."""

from __future__ import annotations

import pytest
import trustme

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.certificates import certified
from tests.router.support.endpoints import Wire, chat, post


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


def test_a_backend_whose_certificate_names_another_host_gets_nothing(
    trusted_authority: trustme.CA,
    start_backend: StartBackend,
    start_router: StartRouter,
    capfd: pytest.CaptureFixture[str],
) -> None:
    backend = start_backend(tls=certified(trusted_authority, "localhost"))
    router = start_router({"m": f"https://127.0.0.1:{backend.port}"})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.response().status == 503
    assert backend.requests == []
    assert "certificate" in capfd.readouterr().err
