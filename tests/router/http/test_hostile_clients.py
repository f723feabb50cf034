"""Requests made to confuse: the router and an independent reader agree on each, or it is refused.

The router is a process of its own. What it sends on is read by h11 (strict_backend).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.router.support.backends.strict_backend import StrictBackend, answer_of
from tests.router.support.corpus.fields import FIELDS
from tests.router.support.corpus.requests import (
    CHUNKS,
    ENDED,
    FIRST_ONLY,
    FORWARDED,
    IN_CHUNKS,
    MAX_BODY_BYTES,
    ONE,
    REFUSED,
    Message,
    body_for,
    with_lines,
)
from tests.router.support.endpoints import LoopThread, Wire, post
from tests.router.support.process import Process

LAST = Message("b", b"POST", b"/last", body_for(b"b"))
LAST_RAW = post(LAST.body, "/last")
# What the router says of itself and the client, whatever the client says.
OWN = {b"host", b"content-length", b"x-request-id", b"via"}
OWN |= {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}


@dataclass
class Ground:
    """A router with a backend for each of two models."""

    port: int
    backends: tuple[StrictBackend, ...]

    def read(self) -> list[Message]:
        """What the backends read, those of each in order. Fails where one read nonsense."""
        assert [backend.wrong for backend in self.backends] == [[], []]
        return [message for backend in self.backends for message in backend.messages]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    thread = LoopThread()
    backends = (StrictBackend(thread, "a").start(), StrictBackend(thread, "b").start())
    models = {backend.model: {"url": backend.url} for backend in backends}
    directory: Path = tmp_path_factory.mktemp("hostile")
    config = {
        "listen": "127.0.0.1:0",
        "models": models,
        "maxBodyBytes": MAX_BODY_BYTES,
        "allowedHosts": ["*"],
    }
    process = Process(directory, config, {})
    yield Ground(process.port, backends)
    process.end()
    for backend in backends:
        backend.stop()
    thread.stop()


@pytest.fixture
def ground(running: Ground) -> Ground:
    for backend in running.backends:
        backend.forget()
    return running


def by_backend(messages: tuple[Message, ...]) -> list[Message]:
    return sorted(messages, key=lambda message: message.model)


@pytest.mark.parametrize(("status", "raw"), REFUSED.values(), ids=REFUSED.keys())
def test_a_hostile_request_is_refused_and_ends_the_connection(
    status: int, raw: bytes, ground: Ground
) -> None:
    with Wire(ground.port) as wire:
        wire.send(raw + LAST_RAW)
        response = wire.response()
        assert response.status == status
        assert response.error["message"]
        assert response.headers["connection"] == "close"
        assert wire.at_end()
    assert ground.read() == []


@pytest.mark.parametrize("name", sorted(REFUSED.keys() - FIRST_ONLY))
def test_a_refusal_leaves_the_answers_before_it_whole(name: str, ground: Ground) -> None:
    status, raw = REFUSED[name]
    with Wire(ground.port) as wire:
        wire.send(with_lines() + raw + LAST_RAW)
        assert wire.response().body == answer_of(ONE)
        assert wire.response().status == status
        assert wire.at_end()
    assert ground.read() == [ONE]


@pytest.mark.parametrize(("raw", "messages"), FORWARDED.values(), ids=FORWARDED.keys())
def test_an_odd_but_valid_request_is_one_message_and_the_next_one_is_found(
    raw: bytes, messages: tuple[Message, ...], ground: Ground
) -> None:
    with Wire(ground.port) as wire:
        wire.send(raw + LAST_RAW)
        for message in (*messages, LAST):
            assert wire.response().body == answer_of(message)
    assert ground.read() == by_backend((*messages, LAST))


@pytest.mark.parametrize(("raw", "messages"), ENDED.values(), ids=ENDED.keys())
def test_nothing_is_read_after_the_last_request_of_a_connection(
    raw: bytes, messages: tuple[Message, ...], ground: Ground
) -> None:
    with Wire(ground.port) as wire:
        wire.send(raw + LAST_RAW)
        for message in messages:
            assert wire.response().body == answer_of(message)
        assert wire.at_end()
    assert ground.read() == by_backend(messages)


@pytest.mark.parametrize(("lines", "kept"), FIELDS.values(), ids=FIELDS.keys())
def test_only_fields_that_may_go_on_reach_the_backend(
    lines: list[bytes], kept: list[bytes], ground: Ground
) -> None:
    with Wire(ground.port) as wire:
        wire.send(with_lines(*lines))
        assert wire.response().body == answer_of(ONE)
    assert ground.read() == [ONE]
    (fields,) = ground.backends[0].fields
    assert [b"%b: %b" % field for field in fields if field[0].lower() not in OWN] == kept
    own = [(name.lower(), value) for name, value in fields if name.lower() in OWN]
    assert len(dict(own)) == len(own)
    assert dict(own)[b"host"] == ground.backends[0].url.removeprefix("http://").encode()
    assert dict(own)[b"content-length"] == b"%d" % len(ONE.body)
    assert dict(own)[b"x-forwarded-for"] == b"127.0.0.1"
    assert dict(own)[b"x-forwarded-proto"] == b"http"
    assert dict(own)[b"x-forwarded-host"] == b"r"


def test_an_absolute_target_says_which_host_was_asked_for(ground: Ground) -> None:
    with Wire(ground.port) as wire:
        wire.send(with_lines().replace(b" /v1/x", b" http://other:1/v1/x"))
        assert wire.response().body == answer_of(ONE)
    assert dict(ground.backends[0].fields[0])[b"X-Forwarded-Host"] == b"other:1"


def test_a_request_in_single_bytes_is_the_same_request(ground: Ground) -> None:
    with Wire(ground.port) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in IN_CHUNKS + CHUNKS + with_lines():
            wire.send(bytes([byte]))
        assert wire.response().body == answer_of(ONE)
        assert wire.response().body == answer_of(ONE)
    assert ground.read() == [ONE, ONE]


RAW = [raw for raw, _ in (FORWARDED | ENDED).values()] + [raw for _, raw in REFUSED.values()]


def outcome(ground: Ground, pieces: list[bytes]) -> tuple[list[tuple[int, object]], list[Message]]:
    """Every answer that a client gets, and every message that the backends read."""
    for backend in ground.backends:
        backend.forget()
    answers: list[tuple[int, object]] = []
    with Wire(ground.port) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                wire.send(piece)
        while not wire.at_end(consume=False):
            answer = wire.response()
            said = answer.body if answer.status == 200 else answer.error["message"]
            answers.append((answer.status, said))
    return answers, ground.read()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    raw=st.sampled_from([raw for raw in RAW if len(raw) < 4096]),
    cuts=st.lists(st.integers(1, 300), max_size=8),
)
def test_a_connection_has_one_outcome_in_any_pieces(
    running: Ground, raw: bytes, cuts: list[int]
) -> None:
    last = LAST_RAW.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    raw += last
    ends = sorted({cut for cut in cuts if cut < len(raw)})
    pieces = [raw[a:b] for a, b in zip([0, *ends], [*ends, len(raw)], strict=True)]
    assert outcome(running, pieces) == outcome(running, [raw])
