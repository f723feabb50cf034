"""Where llmhop asks for no token, and which listeners then go by the Host that is asked for."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.certificates import Authority
from tests.router.support.endpoints import HEALTH, MODELS, Wire, chat, post
from tests.router.support.process import Run

EVIL = "evil.example:8080"


def status_for(wire: Wire, host: str) -> int:
    wire.send(HEALTH.replace(b"Host: r", f"Host: {host}".encode()))
    return wire.response().status


def test_on_loopback_a_name_that_may_be_anyone_s_is_refused(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend}, allowedHosts=["llm.example"])
    with Wire(router.port) as wire:
        for host, status in (
            ("127.0.0.1", 200),
            (EVIL, 403),
            ("llm.example:8080", 200),
            (EVIL, 403),
            (socket.gethostname(), 200),
        ):
            assert status_for(wire, host) == status
        wire.send(post(chat()).replace(b"Host: router", b"Host: evil.example"))
        response = wire.response()
        assert (response.status, response.error_code) == (403, "host_not_allowed")
        assert "allowedHosts" in str(response.error["message"])
    assert backend.connections == 0


@pytest.mark.parametrize(
    ("listen", "kind", "status"),
    [
        ("127.0.0.1:0", "", 403),
        ("localhost:0", "", 403),
        ("127.0.0.1:0", "token", 200),
        ("127.0.0.1:0", "tls", 200),
        ("0.0.0.0:0", "", 200),
        (":0", "", 200),
        ("unix", "", 200),
    ],
)
def test_only_a_listener_on_loopback_without_tls_checks_hosts(
    listen: str, kind: str, status: int, start_router: StartRouter, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    config: dict[str, Any] = {"listen": listen, "allowedHosts": []}
    if listen == "unix":
        config["listen"] = ["127.0.0.1:0", f"unix:{tmp_path}/s"]
    if kind == "tls":
        config |= authority.config()
    elif kind == "token":
        config["authTokens"] = ["t"]
    router = start_router(dict(MODELS), **config)
    if kind == "tls":
        wire = authority.wire(router.port)
    elif listen == "unix":
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"{tmp_path}/s")
        wire = Wire(client)
    else:
        wire = Wire(router.port)
    with wire:
        assert status_for(wire, EVIL) == status
        assert status_for(wire, "127.0.0.1") == 200


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("bound", "status"), [("127.0.0.1", 403), ("0.0.0.0", 200)])  # noqa: S104
def test_workers_and_sockets_from_systemd_check_hosts_too(
    workers: int, bound: str, status: int, run: Run
) -> None:
    with socket.create_server((bound, 0)) as passed:
        port = passed.getsockname()[1]
        run({"models": MODELS, "allowedHosts": [], "workers": workers}, sockets=[passed])
        for _ in range(4):
            with Wire(port) as wire:
                assert status_for(wire, EVIL) == status


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0"])
def test_workers_that_listen_by_themselves_know_it(listen: str, run: Run) -> None:
    process = run({"models": MODELS, "allowedHosts": [], "workers": 2, "listen": listen})
    for _ in range(4):
        with Wire(process.port) as wire:
            assert status_for(wire, EVIL) == (403 if "127" in listen else 200)


@pytest.mark.parametrize("workers", [1, 2])
def test_that_every_page_is_served_is_told_at_each_start_and_reload(workers: int, run: Run) -> None:
    config = {"models": MODELS, "cors": {"origins": ["*"]}, "workers": workers}
    process = run({**config, "authTokens": []})
    process.write({**config, "authTokens": ["secret"]})
    process.reload()
    process.write({**config, "cors": {"origins": ["https://app.example"]}})
    process.reload()
    process.write(config)
    process.reload()
    process.stop()
    process.process.wait(20)
    said = 'authTokens is empty and cors.origins has "*": every web page is served'
    assert sum(said in line for line in (process.started + process.end()).splitlines()) == 2
