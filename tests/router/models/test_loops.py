"""A url that leads to llmhop itself: noticed at the first return, whatever lies in between."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from llmhop.http.fields.via import PREFIX
from llmhop.http.head import parse_request_head
from llmhop.limits import MAX_HOPS

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.form_requests import END, head
from tests.router.support.corpus.forms import MODEL, part
from tests.router.support.endpoints import LoopThread, Response, RunningRouter, ask, chat, post
from tests.router.support.process import Run
from tests.router.support.scrape import Scrape
from tests.router.support.websocket import ASK

FORM_BODY = part(MODEL, b"m") + END
REQUESTS = {
    "JSON": post(chat()),
    "an alias": post(chat("alias")),
    "a query": post(b"", "/v1/x?model=m"),
    "a path": post(chat(), "/route/m/v1/x"),
    "a form": head(len(FORM_BODY)) + FORM_BODY,
    "a form, named in its target": head(len(FORM_BODY), path="/v1/x?model=m") + FORM_BODY,
    "a WebSocket": ASK,
    "HTTP/1.0": post(chat()).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "Connection names Via": post(chat(), "/v1/x", "Connection: via, Via"),
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def assert_is_loop(response: Response) -> None:
    assert (response.status, response.error_code) == (508, "loop_detected")


def to(port: int, **more: Any) -> dict[str, Any]:
    return {"m": {"url": f"http://127.0.0.1:{port}", "aliases": ["alias"], **more}}


@pytest.fixture
def looped(start_router: StartRouter) -> RunningRouter:
    """A router that is its own backend."""
    router = start_router({"m": "http://127.0.0.1:9"})
    router.reload({"models": to(router.port)})
    return router


@pytest.mark.parametrize("raw", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_router_that_is_its_own_backend_answers_508(raw: bytes, looped: RunningRouter) -> None:
    assert_is_loop(ask(looped.port, raw))
    # The one that asked, and the one on which it came back.
    assert looped.thread.call(lambda: len(looped.server.clients)) <= 2


@pytest.mark.parametrize("raw", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_loop_over_two_routers_is_noticed(raw: bytes, start_router: StartRouter) -> None:
    first = start_router({"m": "http://127.0.0.1:9"})
    second = start_router({"m": {"url": first.url, "aliases": ["alias"]}})
    first.reload({"models": to(second.port)})
    assert_is_loop(ask(first.port, raw))


@pytest.mark.parametrize("raw", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_loop_is_noticed_whichever_worker_gets_it(raw: bytes, run: Run) -> None:
    port = free_port()
    # No check of a config knows whose name that is.
    url = f"http://{socket.gethostname()}:{port}"
    models = {"m": {"url": url, "aliases": ["alias"]}}
    process = run(
        {"models": models, "listen": f"0.0.0.0:{port}", "allowedHosts": ["*"], "workers": 2}
    )
    for _ in range(8):
        assert_is_loop(ask(process.port, raw))


def test_a_reload_keeps_the_pseudonym(start_router: StartRouter) -> None:
    # What is under way meanwhile may be a loop.
    router = start_router({"m": "http://127.0.0.1:9"})
    before = router.server.table.pseudonym
    router.reload({"models": to(router.port)})
    assert router.server.table.pseudonym == before


def test_a_loop_takes_no_place_of_a_queue(start_router: StartRouter) -> None:
    # What comes back must not wait for a place that is held by the request it comes from.
    router = start_router({"m": "http://127.0.0.1:9"})
    router.reload({"models": to(router.port, maxConcurrent=1)})
    assert_is_loop(ask(router.port, post(chat())))


def test_what_llmhop_answers_itself_is_no_loop(looped: RunningRouter) -> None:
    pseudonym = looped.server.table.pseudonym.decode()
    for path in ("/health", "/v1/models", "/metrics"):
        raw = f"GET {path} HTTP/1.1\r\nHost: r\r\nVia: 1.1 {pseudonym}\r\n\r\n".encode()
        assert ask(looped.port, raw).status == 200


@contextlib.contextmanager
def proxy(thread: LoopThread, port: int) -> Iterator[int]:
    """A proxy that writes Via as another implementation may: in capitals, in one field."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        vias = [x.partition(b": ")[2] for x in lines if x.lower().startswith(b"via:")]
        lines = [x for x in lines[:-2] if not x.lower().startswith(b"via:")]
        vias = [via.upper() for via in vias] + [b"HTTP/1.1 front (some, comment)"]
        lines += [b"VIA:" + b",".join(vias), b"Connection: close", b"", b""]
        upstream, out = await asyncio.open_connection("127.0.0.1", port)
        out.write(b"\r\n".join(lines) + await reader.readexactly(len(chat())))
        writer.write(await upstream.read())
        out.close()
        writer.close()

    server = thread.run(asyncio.start_server(serve, "127.0.0.1", 0))
    yield server.sockets[0].getsockname()[1]
    thread.call(server.close)


def test_a_loop_through_another_proxy_is_noticed(
    loop_thread: LoopThread, start_router: StartRouter
) -> None:
    router = start_router({"m": "http://127.0.0.1:9"})
    with proxy(loop_thread, router.port) as port:
        router.reload({"models": to(port)})
        assert_is_loop(ask(router.port, post(chat())))


def test_a_chain_of_routers_is_no_loop(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    port = backend.port
    routers = []
    for _ in range(3):
        routers.append(start_router({"m": f"http://127.0.0.1:{port}"}))
        port = routers[-1].port
    others = "1.0 a, 1.1 b (llmhop-c), 1.1 not-llmhop-0"
    raw = post(chat(), "/v1/x", f"Via: {others}", "Connection: via", "via: 1.1 d")
    assert ask(port, raw).body == chat()
    pseudonyms = [router.server.table.pseudonym.decode() for router in reversed(routers)]
    assert len(set(pseudonyms)) == 3
    assert all(name.startswith(PREFIX.decode()) for name in pseudonyms)
    # The client's own first, then a field of each, in the order of the way.
    values = [others, "1.1 d", *[f"1.1 {name}" for name in pseudonyms]]
    assert backend.requests[0].values("via") == values


@pytest.mark.parametrize("raw", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_goes_through_so_many_llmhops_and_no_more(
    raw: bytes, start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    port = backend.port
    for _ in range(MAX_HOPS + 1):
        port = start_router({"m": to(port)["m"]}).port
    response = ask(port, raw)
    assert_is_loop(response)
    assert b"through more than 3 llmhops" in response.body
    assert not backend.requests
    start, end, rest = raw.partition(b"\r\n")
    vias = b"Via: 1.1 llmhop-0,\t1.0  LLMHOP-1 (x)\r\nvia: HTTP/1.1 llmhop-2\r\n"
    response = ask(start_router({"m": to(backend.port)["m"]}).port, start + end + vias + rest)
    assert (response.status, response.error_code) == (508, "too_many_hops")
    assert not backend.requests


@pytest.mark.usefixtures("fresh_metrics")
def test_hosts_that_are_each_others_fallback_do_not_multiply_a_request(
    start_router: StartRouter,
) -> None:
    engine = f"http://127.0.0.1:{free_port()}"
    routers = [start_router({"m": engine}) for _ in range(6)]
    for router in routers:
        others = [f"{other.url}/route/m" for other in routers if other is not router]
        router.reload({"models": {"m": {"urls": [engine, *others]}}})
    assert ask(routers[0].port, post(chat())).status == 503
    counted = sum(
        Scrape(router.port).value("llmhop_requests_total", model=model, status=status)
        for router in routers
        for model, status in (("m", "503"), ("", "508"))
    )
    assert 1 < counted <= sum(5**hops for hops in range(MAX_HOPS + 1))


def test_the_version_of_the_request_is_told(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    router = start_router({"m": backend})
    assert ask(router.port, REQUESTS["HTTP/1.0"]).status == 200
    assert backend.requests[0].values("via") == [f"1.0 {router.server.table.pseudonym.decode()}"]


def test_a_head_says_whether_it_came_through_an_llmhop() -> None:
    for lines, came in (
        (b"", False),
        (b"Via: 1.1 front, 1.0 x (not-llmhop)\r\n", False),
        (b"Via: 1.1 front\r\nvia: HTTP/1.1 LLMHOP-0123 (x), 1.1 y\r\n", True),
    ):
        head, _ = parse_request_head(b"GET / HTTP/1.1\r\nHost: r\r\n" + lines + b"\r\n")
        assert head.via_llmhop == came
