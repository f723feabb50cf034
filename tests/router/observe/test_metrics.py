"""/metrics, as Prometheus reads it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator

import llmhop.process.server
import pytest
from llmhop.http.local_response import LocalResponse
from llmhop.observe.metric_layout import STATUS, STATUS_INDEX, STATUSES
from llmhop.observe.metric_store import MetricStore
from llmhop.observe.request_record import RequestRecord

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.endpoints import (
    TIMEOUT,
    Received,
    RunningRouter,
    Wire,
    chat,
    hold,
    post,
    respond_bytes,
    respond_in_two,
    wait_until,
)
from tests.router.support.peer import Peer
from tests.router.support.process import Run
from tests.router.support.scrape import Scrape
from tests.router.support.websocket import opened, until_empty
from tests.router.support.workers import MANY, workers

USAGE = {"prompt_tokens": 7, "completion_tokens": 5}


def ask(port: int, *bodies: bytes) -> None:
    with Wire(port) as wire:
        for body in bodies:
            wire.send(post(body))
            wire.response()


def test_requests_are_counted_by_model_and_status(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    teapot = start_backend(respond_bytes(b"HTTP/1.1 418 T\r\nContent-Length: 1\r\n\r\nx"))
    odd = start_backend(respond_bytes(b"HTTP/1.1 599 T\r\nContent-Length: 1\r\n\r\nx"))
    router = start_router({"a": start_backend(), "b": teapot, "odd": odd})
    ask(router.port, chat("a"), chat("a"), chat("b"), chat("odd"))
    scrape = Scrape(router.port)
    assert scrape.value("llmhop_requests_total", model="a", status="200") == 2
    assert scrape.value("llmhop_requests_total", model="b", status="418") == 1
    assert scrape.value("llmhop_requests_total", model="odd", status="5xx") == 1
    for name in ("llmhop_request_duration_seconds", "llmhop_time_to_first_byte_seconds"):
        assert scrape.value(f"{name}_count", model="a") == 2
        assert scrape.value(f"{name}_bucket", model="a", le="+Inf") == 2
        assert scrape.value(f"{name}_bucket", model="a", le="600") == 2
        assert 0 < scrape.value(f"{name}_sum", model="a") < 20
    assert scrape.value("llmhop_request_bytes_total", model="a") == 2 * len(chat("a"))
    assert scrape.value("llmhop_response_bytes_total", model="a") == 2 * len(chat("a"))
    assert scrape.value("llmhop_client_connections") >= 1
    assert scrape.value("process_resident_memory_bytes", worker="0") > 1e6


def test_every_status_that_ends_a_request_has_an_index_of_its_own_kind() -> None:
    for status, index in STATUS_INDEX.items():
        assert 0 <= index - STATUS < len(STATUSES)
        assert STATUSES[index - STATUS] in (str(status), f"{status // 100}xx")
    assert STATUS_INDEX.keys() == set(range(100, 600))
    assert STATUSES[STATUS_INDEX[101] - STATUS] == "101"


@pytest.mark.usefixtures("fresh_metrics")
def test_a_websocket_is_counted_by_its_status(start_router: StartRouter) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        wire, link = opened(router, peer)
        assert Scrape(router.port).value("llmhop_requests_in_flight", model="m") == 1
        link.shutdown(socket.SHUT_RDWR)
        wire.close()
        until_empty(router)
        scrape = Scrape(router.port)
        assert scrape.value("llmhop_requests_total", model="m", status="101") == 1
        for gauge in ("requests_in_flight", "requests_queued", "streams_open"):
            assert scrape.value(f"llmhop_{gauge}", model="m") == 0


def test_names_that_clients_make_up_are_no_labels(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"})
    ask(router.port, *[chat(f"made-up-{n}") for n in range(50)])
    scrape = Scrape(router.port)
    assert "made-up" not in scrape.text
    assert scrape.value("llmhop_requests_total", model="", status="404") == 50


def test_an_alias_is_counted_as_its_model(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    models = {"m": {"url": start_backend().url, "aliases": ["other"]}}
    router = start_router({}, models=models)
    ask(router.port, chat("other"))
    scrape = Scrape(router.port)
    assert scrape.value("llmhop_requests_total", model="m", status="200") == 1
    assert '"other"' not in scrape.text


def test_tokens_are_counted_from_an_answer_and_from_a_stream(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    whole = json.dumps({"choices": [{"text": "x" * 100}], "usage": USAGE}).encode()
    event = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"

    async def respond(request: Received, writer: asyncio.StreamWriter) -> None:
        if b"stream" not in request.body:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(whole) + whole)
            return
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for data in (b"data: {}\n\n", event[:-20], event[-20:], b"data: [DONE]\n\n", b""):
            await asyncio.sleep(0.01)  # so that each comes alone
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    router = start_router({"m": start_backend(respond)})
    ask(router.port, chat(), chat(), b'{"model":"m","stream":true}')
    scrape = Scrape(router.port)
    assert scrape.value("llmhop_tokens_total", model="m", type="prompt") == 3 * 7
    assert scrape.value("llmhop_tokens_total", model="m", type="completion") == 3 * 5


@pytest.mark.usefixtures("fresh_metrics")
def test_what_goes_on_now_is_shown_and_gone_when_it_ended(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    go_on = threading.Event()

    backend = start_backend(respond_in_two(head, go_on, b"0\r\n\r\n"))
    models = {"m": {"url": backend.url, "maxConcurrent": 1, "maxQueued": 5}}
    router = start_router({}, models=models)
    wires = [Wire(router.port) for _ in range(3)]
    for wire in wires:
        wire.send(post(chat()))
    assert wires[0].head()[0] == 200

    def now() -> tuple[float, float, float]:
        scrape = Scrape(router.port)
        names = ("requests_in_flight", "requests_queued", "streams_open")
        first, second, third = (scrape.value(f"llmhop_{name}", model="m") for name in names)
        return first, second, third

    wait_until(lambda: now() == (3, 2, 1))
    go_on.set()
    for wire in wires[1:]:
        assert wire.response().status == 200
    assert now() == (0, 0, 0)
    for wire in wires:
        wire.close()


def test_failures_of_backends_are_counted_by_kind(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router(
        {
            "gone": "http://127.0.0.1:1",
            "closes": start_backend(respond_bytes(b"", close=True)),
            "lies": start_backend(respond_bytes(b"SMTP\r\n\r\n")),
        }
    )
    ask(router.port, chat("gone"), chat("closes"), chat("lies"))
    scrape = Scrape(router.port)
    for model, kind in (("gone", "connect"), ("closes", "closed"), ("lies", "invalid_response")):
        assert scrape.value("llmhop_backend_failures_total", model=model, kind=kind) == 1
    assert scrape.value("llmhop_requests_total", model="closes", status="503") == 1


def test_the_page_needs_a_token_where_there_are_any(start_router: StartRouter) -> None:
    router = start_router({"m": "http://127.0.0.1:1"}, authTokens=["t"])
    with Wire(router.port) as wire:
        wire.send(b"GET /metrics HTTP/1.1\r\nHost: r\r\n\r\n")
        assert wire.response().status == 401
    assert "llmhop_build_info" in Scrape(router.port, "Authorization: Bearer t").text


def test_a_models_own_page_is_reached_by_its_route(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend(respond_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nvllm"))
    router = start_router({"m": backend})
    with Wire(router.port) as wire:
        wire.send(b"GET /route/m/metrics HTTP/1.1\r\nHost: r\r\n\r\n")
        assert wire.response().body == b"vllm"
    assert backend.requests[0].line == "GET /metrics HTTP/1.1"


def test_reloads_are_counted_by_result(run: Run) -> None:
    config = {"models": {"m": {"url": "http://127.0.0.1:1"}}, "listen": "127.0.0.1:0"}
    process = run(config)
    process.write("{")
    process.reload()
    process.write(config)
    process.reload()
    process.reload()
    scrape = Scrape(process.port)
    assert scrape.value("llmhop_config_reloads_total", result="success") == 2
    assert scrape.value("llmhop_config_reloads_total", result="failure") == 1


SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: r\r\n\r\n"


class Pages:
    """Counts what the pages of a router cost, and holds them back."""

    def __init__(self, router: RunningRouter, monkeypatch: pytest.MonkeyPatch) -> None:
        self.walks = self.renders = 0
        self.begun, self.go_on = threading.Event(), threading.Event()
        server = router.server
        render, records = llmhop.process.server._render_page, server._records
        router.thread.call(server._sweeper.stop)  # a sweep counts the clients too

        def counted_render(store: MetricStore) -> LocalResponse:
            self.renders += 1
            self.begun.set()
            assert self.go_on.wait(TIMEOUT)
            return render(store)

        def counted_records() -> Iterator[RequestRecord]:
            self.walks += 1
            return records()

        monkeypatch.setattr("llmhop.process.server._render_page", counted_render)
        monkeypatch.setattr(server, "_records", counted_records)


def test_one_page_is_made_for_all_scrapes_within_a_second(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhop.process.server.METRICS_S", 1000.0)
    router = start_router({"m": "http://127.0.0.1:1"})
    pages = Pages(router, monkeypatch)
    wires = [Wire(router.port) for _ in range(20)]
    for wire in wires:
        wire.send(SCRAPE)
    assert pages.begun.wait(TIMEOUT)
    for _ in range(10):  # the first of them, too
        wires.pop(0).close()
    wait_until(lambda: len(router.server.clients) == len(wires))
    pages.go_on.set()
    for wire in wires:
        for _ in range(3):
            assert b"llmhop_build_info" in wire.response().body
            wire.send(SCRAPE)
        wire.close()
    assert (pages.walks, pages.renders) == (1, 1)


@pytest.mark.parametrize("age", [0.0, 0.01])
def test_a_page_is_made_anew_when_it_is_old(
    age: float, start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhop.process.server.METRICS_S", age)
    router = start_router({"m": "http://127.0.0.1:1"})
    ask(router.port, chat("a"))
    wait_until(lambda: Scrape(router.port).value("llmhop_requests_total", model="", status="404"))
    ask(router.port, chat("a"))
    wait_until(
        lambda: Scrape(router.port).value("llmhop_requests_total", model="", status="404") == 2
    )


def test_a_page_that_takes_long_is_the_only_one_until_it_is_made(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhop.process.server.METRICS_S", 0.0)
    router = start_router({"m": "http://127.0.0.1:1"})
    pages = Pages(router, monkeypatch)
    for _ in range(10):
        with Wire(router.port) as wire:
            wire.send(SCRAPE)
            assert pages.begun.wait(TIMEOUT)
        wait_until(lambda: not router.server.clients)
    assert (pages.walks, pages.renders) == (1, 1)
    pages.go_on.set()
    assert "llmhop_build_info" in Scrape(router.port).text


def test_a_page_that_fails_is_made_anew(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhop.process.server.METRICS_S", 0.0)
    router = start_router({"m": "http://127.0.0.1:1"})

    def fail(_: MetricStore) -> LocalResponse:
        raise ZeroDivisionError

    with monkeypatch.context() as patch, Wire(router.port) as wire:
        patch.setattr("llmhop.process.server._render_page", fail)
        wire.send(SCRAPE)
        assert wire.response().status == 500
    assert "llmhop_build_info" in Scrape(router.port).text


def test_any_worker_tells_the_sum_and_a_killed_one_takes_nothing_away(
    run: Run, start_backend: StartBackend
) -> None:
    models = {"m": {"url": start_backend().url}}
    process = run({"models": models, "workers": 3})

    def total() -> float:
        return Scrape(process.port).value("llmhop_requests_total", model="m", status="200")

    def all_tell(number: int) -> bool:
        return all(total() == number for _ in range(MANY))

    for _ in range(60):
        ask(process.port, chat())
    wait_until(lambda: all_tell(60))
    before = workers(process)
    for victim in before[:2]:
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(set(workers(process)) - set(before[:2])) == 3)
    assert all_tell(60)
    for _ in range(60):
        ask(process.port, chat())
    wait_until(lambda: all_tell(120))
    process.reload()
    wait_until(
        lambda: Scrape(process.port).value("llmhop_config_reloads_total", result="success") == 1
    )
    scrape = Scrape(process.port)
    assert scrape.value("llmhop_worker_restarts_total") == 2
    assert all(scrape.value("process_open_fds", worker=str(n)) > 3 for n in range(4))


def test_the_requests_of_a_killed_worker_are_no_longer_in_flight(
    run: Run, start_backend: StartBackend
) -> None:
    backend = start_backend(hold)
    process = run({"models": {"m": {"url": backend.url}}, "workers": 2})
    wires = [Wire(process.port) for _ in range(30)]
    for wire in wires:
        wire.send(post(chat()))

    def in_flight() -> float:
        return Scrape(process.port).value("llmhop_requests_in_flight", model="m")

    wait_until(lambda: in_flight() == 30)
    before = workers(process)
    for victim in before:
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(set(workers(process)) - set(before)) == 2)
    assert in_flight() == 0
    for wire in wires:
        wire.close()
