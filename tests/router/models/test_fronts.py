"""An llmhop before others: what one of them could not serve, another one gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmhop.limits import MAX_HELD_FORM_BYTES

from tests.router.conftest import StartBackend, StartFake, StartRouter
from tests.router.support.backends.fleet import CLOSED, Fleet, Host, ask
from tests.router.support.corpus.form_requests import END, head
from tests.router.support.corpus.forms import FILE, MODEL, part
from tests.router.support.endpoints import (
    Backend,
    LoopThread,
    Received,
    RunningRouter,
    Wire,
    chat,
    post,
    respond_bytes,
    respond_json,
    wait_until,
)
from tests.router.support.fakes.router import responses
from tests.router.support.websocket import ASK

UNAVAILABLE = b"Proxy-Status: llmhop; error=destination_unavailable\r\n"
VIA = "Via: 1.1 llmhop-0123456789abcdef"
FORM = part(MODEL, b"m") + part(FILE, b"y" * 200_000) + END
REQUESTS = {
    "JSON": post(chat()),
    "an alias": post(chat("alias")),
    "large": post(b'{"model":"m","x":"%b"}' % (b"y" * 1_000_000)),
    "a query": b"GET /v1/x?model=m HTTP/1.1\r\nHost: r\r\n\r\n",
    "a path": post(chat(), "/route/m/v1/x"),
    "a form": head(len(FORM)) + FORM,
    "HTTP/1.0": post(chat(), "/v1/x", "Connection: close").replace(b"HTTP/1.1", b"HTTP/1.0"),
}


UNSERVED: dict[str, Callable[[Host], None]] = {
    "engine down": Host.engine_down,
    "without the model": Host.without_the_model,
    "full": Host.full,
}
STATES = {"up": Host.up, **UNSERVED}


@pytest.mark.parametrize("raw", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("become", UNSERVED.values(), ids=UNSERVED.keys())
@pytest.mark.parametrize("bad", [0, 1])
def test_what_one_host_can_not_serve_the_other_one_gets(
    raw: bytes, become: Callable[[Host], None], bad: int, fleet: Fleet
) -> None:
    become(fleet.hosts[bad])
    for _ in range(4):
        assert ask(fleet.front.port, raw).status == 200
    good = fleet.hosts[1 - bad]
    assert len(good.engine.requests) == 4
    bodies = {request.body for request in good.engine.requests}
    sent = raw.partition(b"\r\n\r\n")[2].replace(b"alias", b"m")
    assert bodies == {sent}
    counts = fleet.front.thread.call(
        lambda: [pool.outstanding for pool in fleet.front.server.models.all()["m"].pools]
    )
    assert counts == [0, 0]


def test_a_host_whose_llmhop_stops_is_passed_over(fleet: Fleet) -> None:
    assert ask(fleet.front.port, post(chat())).status == 200
    assert ask(fleet.front.port, post(chat())).status == 200
    fleet.hosts[0].router.thread.run(fleet.hosts[0].router.server.drain(0))
    for _ in range(4):
        assert ask(fleet.front.port, post(chat())).status == 200


@pytest.mark.parametrize(
    ("first", "second", "status", "code"),
    [
        ("engine down", "engine down", 503, "backend_unavailable"),
        ("without the model", "without the model", 503, "backend_unavailable"),
        ("without the model", "engine down", 503, "backend_unavailable"),
        ("full", "full", 429, "rate_limit_exceeded"),
        ("full", "engine down", 429, "rate_limit_exceeded"),
        ("without the model", "full", 429, "rate_limit_exceeded"),
    ],
)
@pytest.mark.parametrize("raw", REQUESTS.values(), ids=REQUESTS.keys())
def test_where_no_host_can_there_is_one_clear_answer(
    raw: bytes, first: str, second: str, status: int, code: str, fleet: Fleet
) -> None:
    for host, state in zip(fleet.hosts, (first, second), strict=True):
        STATES[state](host)
    for _ in range(3):
        response = ask(fleet.front.port, raw)
        assert (response.status, response.error_code) == (status, code)
        assert int(response.headers["retry-after"]) >= 1
    assert fleet.served() == [0, 0]


def test_a_front_of_a_front_learns_of_it_too(
    start_router: StartRouter, start_backend: StartBackend, fleet: Fleet
) -> None:
    engine = start_backend()
    outer = start_router({"m": {"urls": [fleet.front.url, engine.url]}})
    for host in fleet.hosts:
        host.engine_down()
    for _ in range(4):
        assert ask(outer.port, post(chat())).status == 200
    assert len(engine.requests) == 4


def test_two_llmhops_that_stand_in_for_each_other(
    start_router: StartRouter, start_backend: StartBackend
) -> None:
    engines = [start_backend(), start_backend()]
    first, second = (start_router({"m": engine.url}) for engine in engines)
    for router, engine, other in ((first, CLOSED, second), (second, engines[1].url, first)):
        router.reload({"models": {"m": {"urls": [engine, other.url]}}})
    for _ in range(6):
        assert ask(first.port, post(chat())).status == 200
    second.reload({"models": {"m": {"urls": [CLOSED, first.url]}}})
    for _ in range(3):
        response = ask(first.port, post(chat()))
        assert (response.status, response.error_code) == (503, "backend_unavailable")


def test_a_websocket_goes_to_the_host_that_takes_it(fleet: Fleet) -> None:
    fleet.hosts[0].engine_down()
    for _ in range(2):
        assert ask(fleet.front.port, ASK).status == 200  # no engine here switches
    assert fleet.served() == [0, 2]


def test_a_form_that_is_still_coming_goes_to_the_other_host_whole(fleet: Fleet) -> None:
    fleet.hosts[0].engine_down()
    engine = fleet.hosts[1].engine
    raw = head(len(FORM)) + FORM
    for count in (1, 2):
        with Wire(fleet.front.port) as wire:
            wire.send(raw[:100_000])
            wait_until(lambda count=count: engine.connections == count)  # type: ignore[misc]
            wire.send(raw[100_000:])
            assert wire.response().status == 200
        engine.close_connections()
    assert [request.body for request in engine.requests] == [FORM, FORM]


def test_a_form_of_which_too_much_was_sent_is_refused_once(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    # It reads all of the form before it says so.
    bad = start_backend(
        respond_bytes(b"HTTP/1.1 503 X\r\n" + UNAVAILABLE + b"Content-Length: 2\r\n\r\nno")
    )
    good = start_backend()
    router = start_router({"m": {"urls": [bad.url, good.url]}})
    body = part(MODEL, b"m") + part(FILE, b"y" * (MAX_HELD_FORM_BYTES + 1)) + END
    raw = head(len(body)) + body
    response = ask(router.port, raw)
    assert (response.status, response.error_code) == (503, "backend_unavailable")
    for _ in range(3):
        assert ask(router.port, raw).body == body
    assert (len(bad.requests), len(good.requests)) == (1, 3)


def test_only_a_request_through_an_llmhop_learns_why(fleet: Fleet) -> None:
    host = fleet.hosts[0]
    host.engine_down()
    for fields, marked in (((), False), (("Via: 1.1 nginx",), False), ((VIA,), True)):
        with Wire(host.router.port) as wire:
            wire.send(post(chat(), "/v1/x", *fields))
            found = wire.response().headers.get("proxy-status")
            assert found == ("llmhop; error=destination_unavailable" if marked else None)


@pytest.mark.parametrize(
    "raw",
    [
        post(b"{", "/v1/x", VIA),
        post(chat(), "/v1/x?model=m&model=n", VIA),
        post(chat(), "/v1/x", VIA, "Bad header"),
    ],
)
def test_what_another_host_would_refuse_as_well_is_not_marked(raw: bytes, fleet: Fleet) -> None:
    with Wire(fleet.hosts[0].router.port) as wire:
        wire.send(raw)
        response = wire.response()
        assert response.status == 400
        assert "proxy-status" not in response.headers


@pytest.mark.parametrize("status", [200, 404, 503])
def test_an_engine_s_own_answer_is_relayed(status: int, fleet: Fleet) -> None:
    said = b"cdn; error=connection_refused"
    raw = b"HTTP/1.1 %d X\r\nProxy-Status: " + said + b"\r\nContent-Length: 2\r\n\r\nhi"
    for host in fleet.hosts:
        host.engine.respond = respond_bytes(raw % status)
    with Wire(fleet.front.port) as wire:
        wire.send(post(chat()))
        response = wire.response()
    assert (response.status, response.body) == (status, b"hi")
    assert response.headers["proxy-status"] == said.decode()
    assert sum(fleet.served()) == 1


def test_an_engine_that_speaks_as_llmhop_does_is_not_believed_with_a_success(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    engine = start_backend(
        respond_bytes(b"HTTP/1.1 200 OK\r\n" + UNAVAILABLE + b"Content-Length: 2\r\n\r\nhi")
    )
    router = start_router({"m": {"urls": [engine.url, CLOSED]}})
    for _ in range(3):
        assert ask(router.port, post(chat())).body == b"hi"


ANSWER = (
    b"HTTP/1.1 503 X\r\nContent-Type: text/plain\r\n"
    + UNAVAILABLE
    + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("cut", [60, 130, 140, len(ANSWER) - 1])
def test_an_answer_that_comes_in_parts_is_passed_over_too(cut: int, start_fake: StartFake) -> None:
    router = start_fake(models={"m": {"urls": [CLOSED, "http://127.0.0.1:2"]}})
    client = router.client()
    router.send(client, post(chat()))
    bad = router.backend()
    router.event(lambda: bad.peer_sends(ANSWER[:cut]))
    # Nobody waits for the rest of it.
    assert bad.lost == (cut >= ANSWER.index(b"3\r\nabc"))
    router.event(lambda: bad.peer_sends(ANSWER[cut:]))
    good = router.backend()
    assert good is not bad
    router.answer(good, b"ok")
    assert responses(bytes(client.sent)) == [(200, b"ok")]


@pytest.mark.parametrize(
    ("status", "code"), [(502, "backend_error"), (504, "backend_timeout"), (503, "shutting_down")]
)
def test_what_an_engine_may_have_worked_on_is_not_repeated(
    status: int, code: str, start_fake: StartFake
) -> None:
    router = start_fake(models={"m": {"urls": [CLOSED, "http://127.0.0.1:2"], "retries": 1}})
    client = router.client()
    router.send(client, post(chat(), "/", VIA))
    backend = router.backend()
    said = b'{"error":{"code":"%b"}}' % code.encode()
    raw = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(said), said)
    router.event(lambda: backend.peer_sends(raw))
    assert responses(bytes(client.sent)) == [(status, said)]
    assert router.backend() is backend


def test_a_host_comes_back_when_it_serves_the_model_again(fleet: Fleet) -> None:
    host = fleet.hosts[0]
    for become in (Host.engine_down, Host.without_the_model):
        become(host)
        before = fleet.served()
        for _ in range(4):
            ask(fleet.front.port, post(chat()))
        assert fleet.served() == [before[0], before[1] + 4]
        fleet.come_back()
        assert fleet.front.thread.call(
            lambda: fleet.front.server.models.all()["m"].replicas[0].ejected
        )
        host.up()
        fleet.come_back()
        for _ in range(4):
            ask(fleet.front.port, post(chat()))
        models = [request for request in host.engine.requests if request.body]
        assert len(models) > before[0]


def test_an_answer_to_a_request_brings_a_host_back(fleet: Fleet) -> None:
    for host in fleet.hosts:
        host.engine_down()
    assert ask(fleet.front.port, post(chat())).status == 503
    fleet.hosts[0].up()
    assert ask(fleet.front.port, post(chat())).status == 200
    replicas = fleet.front.server.models.all()["m"].replicas
    assert [replica.ejected for replica in replicas] == [False, True]


def test_a_full_host_is_not_set_aside(fleet: Fleet) -> None:
    for host in fleet.hosts:
        host.full()
    assert ask(fleet.front.port, post(chat())).status == 429
    replicas = fleet.front.server.models.all()["m"].replicas
    assert [replica.ejected for replica in replicas] == [False, False]


def test_other_models_of_a_host_are_not_set_aside(
    start_router: StartRouter, start_backend: StartBackend
) -> None:
    engine = start_backend()
    inner = start_router({"a": CLOSED, "b": engine.url})
    spare = start_router({"a": engine.url, "b": engine.url})
    urls = [inner.url, spare.url]
    front = start_router({"a": {"urls": urls}, "b": {"urls": urls}})
    for _ in range(2):
        assert ask(front.port, post(chat("a"))).status == 200
    backends = front.server.models.all()
    assert [replica.ejected for replica in backends["a"].replicas] == [True, False]
    assert [replica.ejected for replica in backends["b"].replicas] == [False, False]


@pytest.fixture(scope="module")
def lasting() -> Iterator[Fleet]:
    """A fleet for many examples."""
    thread = LoopThread()
    engines = [Backend(thread, respond_json).start() for _ in "ab"]
    routers: list[RunningRouter] = []

    def start(models: dict[str, Any]) -> RunningRouter:
        routers.append(RunningRouter(LoopThread(), {"models": models}))
        return routers[-1]

    hosts = [Host(engine, start({"m": {"url": engine.url}})) for engine in engines]
    yield Fleet(hosts, start({"m": {"urls": [host.router.url for host in hosts]}}))
    for router in routers:
        router.stop()
        router.thread.stop()
    for engine in engines:
        engine.stop()
    thread.stop()


_STATE = st.sampled_from(sorted(STATES))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(_STATE, _STATE, st.sampled_from(sorted(set(REQUESTS) - {"an alias"}))),
        min_size=1,
        max_size=8,
    )
)
def test_no_request_fails_while_one_host_can_serve_it(
    lasting: Fleet, steps: list[tuple[str, str, str]]
) -> None:
    for first, second, kind in steps:
        for host, state in zip(lasting.hosts, (first, second), strict=True):
            STATES[state](host)
        for _ in range(2):
            before = sum(lasting.served())
            status = ask(lasting.front.port, REQUESTS[kind]).status
            if "up" in (first, second):
                assert status == 200
                assert sum(lasting.served()) == before + 1, "no engine saw it twice"
            else:
                assert status == (429 if "full" in (first, second) else 503)


async def work(request: Received, writer: asyncio.StreamWriter) -> None:
    """Take a moment to answer."""
    await asyncio.sleep(0.05)
    await respond_json(request, writer)


def test_hosts_that_are_each_others_fallback_do_not_wait_for_each_other(
    start_router: StartRouter, start_backend: StartBackend
) -> None:
    """Each has a place for one request, and it may go to the other host."""

    routers = [start_router({"m": CLOSED}) for _ in range(2)]
    for own, other in (routers, reversed(routers)):
        urls = [start_backend(work).url, f"http://127.0.0.1:{other.port}/route/m"]
        own.reload({"models": {"m": {"urls": urls, "maxConcurrent": 1, "queueTimeout": 600}}})
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(router.port)) for router in routers * 8]
        for wire in wires:
            wire.send(post(chat()))
        assert [wire.response().status for wire in wires] == [200] * len(wires)


def test_requests_wait_at_an_llmhop_that_leads_to_others_alone(
    start_router: StartRouter, start_backend: StartBackend
) -> None:
    """It is nobody's fallback, and none of them waits for it."""
    hosts = [start_router({"m": start_backend(work)}) for _ in range(2)]
    urls = [f"{host.url}/route/m" for host in hosts]
    middle = start_router({"m": {"urls": urls, "maxConcurrent": 1}})
    front = start_router({"m": f"{middle.url}/route/m"})
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(front.port)) for _ in range(6)]
        for wire in wires:
            wire.send(post(chat()))
        assert [wire.response().status for wire in wires] == [200] * len(wires)
