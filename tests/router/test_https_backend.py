"""A backend behind TLS, with certificates made for the test."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from llmhop import connecting

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support import Wire, chat, post


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
    """An authority that the system here trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    # What OpenSSL reads for the system's authorities.
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    connecting.tls_context.cache_clear()
    yield authority
    connecting.tls_context.cache_clear()


def certified(authority: trustme.CA, host: str) -> ssl.SSLContext:
    """A server's settings, with a certificate for `host`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


def test_a_backend_with_a_trusted_certificate_is_used_and_its_connection_kept(
    authority: trustme.CA, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(tls=certified(authority, "127.0.0.1"))
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
    authority: trustme.CA,
    start_backend: StartBackend,
    start_router: StartRouter,
    capfd: pytest.CaptureFixture[str],
) -> None:
    backend = start_backend(tls=certified(authority, "localhost"))
    router = start_router({"m": f"https://127.0.0.1:{backend.port}"})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        assert wire.response().status == 503
    assert backend.requests == []
    assert "certificate" in capfd.readouterr().err
