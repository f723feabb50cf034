"""The llmhop that `eval --front` makes serves what the hosts' own configurations serve."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from llmhop_generator.fleet.front import front
from llmhop_generator.router.config import router_config

from tests.generator.support.contracts import host
from tests.router.support.endpoints import (
    Backend,
    LoopThread,
    Response,
    RunningRouter,
    Wire,
    chat,
    post,
)

FLEET = "${file:fleet}"
"""A reference, which the tests' routers take as it stands."""

Model = dict[str, Any]
StartFleet = Callable[..., tuple[list[Backend], RunningRouter]]


@pytest.fixture
def start_fleet() -> Iterator[StartFleet]:
    """Starts an engine and an llmhop for each host, by what its contract renders, and the front."""
    with ExitStack() as stack:

        def thread() -> LoopThread:
            started = LoopThread()
            stack.callback(started.stop)
            return started

        def router(settings: dict[str, Any]) -> RunningRouter:
            started = RunningRouter(thread(), settings)
            stack.callback(started.stop)
            return started

        def start(model: str, settings: dict[str, Any]) -> tuple[list[Backend], RunningRouter]:
            engines, hosts, urls = [], [], {}
            for name in ("one", "two"):
                engine = Backend(thread()).start()
                stack.callback(engine.stop)
                served = {model: {"port": engine.port}}
                described = host(name, settings, **served)
                rendered = router_config(described.config)
                assert rendered is not None
                inner = router({**json.loads(rendered), "listen": "127.0.0.1:0"})
                engines.append(engine)
                hosts.append(described)
                urls[name] = inner.url
            printed = json.dumps(front(hosts, urls))
            return engines, router(json.loads(printed))

        yield start


def ask(router: RunningRouter, model: str) -> Response:
    with Wire(router.port) as wire:
        wire.send(post(chat(model)))
        return wire.response()


@pytest.mark.parametrize("model", ["a", "Org.a-1"])
@pytest.mark.parametrize("tokens", [[], [FLEET]])
def test_the_front_serves_a_model_of_both_hosts_by_each_of_its_names(
    model: str, tokens: list[str], start_fleet: StartFleet
) -> None:
    settings = {"authTokens": tokens, "models": {model: {"aliases": ["x"]}}}
    engines, router = start_fleet(model, settings)
    for name in (model, "x", model, "x"):
        assert ask(router, name).body == chat(model)
    assert [len(engine.requests) for engine in engines] == [2, 2]
    assert all(b" /v1/chat/completions " in r.head for e in engines for r in e.requests)


def test_the_front_passes_over_a_host_whose_engine_is_down(start_fleet: StartFleet) -> None:
    engines, router = start_fleet("a", {})
    engines[0].stop()
    for _ in range(4):
        assert ask(router, "a").status == 200
    assert len(engines[1].requests) == 4
    engines[1].stop()
    response = ask(router, "a")
    assert (response.status, response.error_code) == (503, "backend_unavailable")
