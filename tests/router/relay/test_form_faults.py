"""Forms that go wrong on their way: broken off by either side, too large, or not taken."""

from __future__ import annotations

import threading

import pytest
from llmhop.http.body.multipart import MAX_PARTS

from tests.router.conftest import StartFake, StartRouter
from tests.router.support.corpus.form_requests import (
    BEGUN,
    END,
    chunked,
    error_of,
    head,
    until_read,
)
from tests.router.support.corpus.forms import FILE, MODEL, SOUND, part
from tests.router.support.endpoints import TIMEOUT, Wire
from tests.router.support.fakes.router import statuses
from tests.router.support.peer import Peer


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (part(MODEL, b"n") + END, (400, "conflicting_models")),
        (part(MODEL, b"m") + END, (400, "conflicting_models")),
        (b"--XbX \r\n", (400, "bad_request")),
        (b"--XbX--\r\n--XbX", (400, "bad_request")),
        (part(FILE, b"") * MAX_PARTS, (413, "request_too_large")),
    ],
)
@pytest.mark.parametrize("known_length", [True, False])
def test_a_form_that_turns_out_bad_on_its_way_is_broken_off(
    start_router: StartRouter, rest: bytes, expected: tuple[int, object], known_length: bool
) -> None:
    first = part(MODEL, b"m") + part(FILE, SOUND)
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        if known_length:
            wire.send(head(len(first + rest) + 1000) + first)
        else:
            wire.send(head(None) + chunked(first))
        link = peer.accept()
        link.head()
        wire.send(rest if known_length else chunked(rest))
        assert error_of(wire) == expected
        assert wire.at_end()
        arrived = link.file.read()
        assert rest not in arrived
        assert not arrived.endswith(b"0\r\n\r\n")


def test_a_form_of_which_some_was_sent_is_not_repeated(start_fake: StartFake) -> None:
    router = start_fake(models={"m": {"url": "http://127.0.0.1:1", "retries": 2}})
    client = router.client()
    router.send(client, head(len(BEGUN) + 5000) + BEGUN + b"x" * 1000)
    backend = router.backend()
    router.event(lambda: backend.peer_reads(10**6))
    assert backend.sent.endswith(b"xxx")
    router.event(backend.peer_resets)
    assert statuses(client) == [503]  # not a byte came on its first connection
    assert not router.loop.connecting


def test_a_form_that_was_whole_at_once_is_repeated(start_fake: StartFake) -> None:
    router = start_fake(models={"m": {"url": "http://127.0.0.1:1", "retries": 1}})
    client = router.client()
    form = part(MODEL, b"m") + part(FILE, SOUND) + END
    router.send(client, head(len(form)) + form)
    first = router.backend()
    router.event(first.peer_resets)
    second = router.backend()
    router.event(lambda: second.peer_reads(10**6))
    assert second.sent.endswith(form)
    router.answer(second, b"ok")
    assert statuses(client) == [200]


def test_a_chunked_form_beyond_the_limit_is_broken_off(start_router: StartRouter) -> None:
    with Peer() as peer, Wire(start_router({"m": peer.url}, maxBodyBytes=100_000).port) as wire:
        wire.send(head(None) + chunked(BEGUN + b"x" * 50_000))
        link = peer.accept()
        link.head()
        wire.send(chunked(b"y" * 60_000))
        assert error_of(wire) == (413, "request_too_large")
        # The chunk may come in pieces, and what is within the limit is relayed as it comes.
        arrived = link.file.read()
        assert arrived.count(b"x") + arrived.count(b"y") <= 100_000
        assert not arrived.endswith(b"0\r\n\r\n")


def test_no_more_than_the_limit_is_kept_of_a_form(start_router: StartRouter) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url}, maxBodyBytes=100_000)
        with Wire(router.port) as wire:
            wire.send(head(None) + chunked(part(FILE, b"x" * 100_000)))
            assert error_of(wire) == (413, "request_too_large")
        with Wire(router.port) as wire:
            wire.send(head(100_001))
            assert error_of(wire) == (413, "request_too_large")
        assert peer.nobody_came()


def test_broken_chunks_in_a_form_are_broken_off(start_router: StartRouter) -> None:
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(head(None) + chunked(BEGUN))
        link = peer.accept()
        link.head()
        wire.send(b"xyz\r\n")
        assert error_of(wire) == (400, "bad_request")
        link.file.read()
        assert wire.at_end()


def test_a_client_that_leaves_within_a_form_ends_the_backends_work(
    start_router: StartRouter,
) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        with Wire(router.port) as wire:
            wire.send(head(10_000) + BEGUN)
            link = peer.accept()
            link.head()
        link.file.read()
        assert link.at_end()
        assert not router.thread.call(lambda: router.server.clients)


def test_a_form_that_stops_coming_is_refused_and_broken_off(start_router: StartRouter) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        with Wire(router.port) as wire:
            wire.send(head(10_000) + BEGUN + b"x")
            link = peer.accept()
            link.head()
            link.read(len(BEGUN) + 1)
            router.sweep_after(15)
            wire.send(b"xy")
            assert link.read(2) == b"xy"
            router.sweep_after(62)
            assert error_of(wire) == (408, "timeout")
            link.file.read()


def test_a_response_before_the_form_is_whole_ends_both_connections(
    start_router: StartRouter,
) -> None:
    with Peer() as peer, Wire(start_router({"m": peer.url}).port) as wire:
        wire.send(head(10_000_000) + BEGUN)
        link = peer.accept()
        link.head()
        link.answer(b'{"error":1}', b"400 Bad Request")
        response = wire.response()
        assert (response.status, response.body) == (400, b'{"error":1}')
        assert response.headers["connection"] == "close"
        wire.send(b"x" * 1_000_000)  # is thrown away
        assert wire.at_end()
        link.file.read()
        assert link.at_end()


def test_a_form_whose_backend_is_down_or_breaks_off_is_answered(start_router: StartRouter) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url, "down": "http://127.0.0.1:1"})
        with Wire(router.port) as wire:
            wire.send(head(1_000_000) + part(MODEL, b"down") + part(FILE, b"x" * 300_000))
            assert wire.response().status >= 502
            wire.send(b"x" * 500_000)
            assert wire.at_end()
        with Wire(router.port) as wire:
            wire.send(head(1_000_000) + BEGUN + b"x" * 300_000)
            link = peer.accept()
            link.head()
            link.close()
            assert wire.response().status == 503
            assert wire.at_end()


def test_a_client_waits_while_its_backend_does_not_read(start_router: StartRouter) -> None:
    size = 50_000_000
    with Peer(receive_buffer=65_536) as peer:
        router = start_router({"m": peer.url})
        with Wire(router.port) as wire:
            length = len(BEGUN) + size + len(b"\r\n" + END)
            wire.send(head(length) + BEGUN)
            link = peer.accept()
            link.head()
            wire.socket.setblocking(False)
            sent = 0
            block = b"x" * 1_000_000
            stalls = 0
            while stalls < 3:
                try:
                    sent += wire.socket.send(block)
                    stalls = 0
                except BlockingIOError:
                    until_read(router)
                    stalls += 1
            assert sent < 20_000_000  # what kernel and router hold, of 50 MB
            wire.socket.settimeout(TIMEOUT)
            rest = b"x" * (size - sent) + b"\r\n" + END
            feeder = threading.Thread(target=wire.send, args=(rest,), daemon=True)
            feeder.start()
            assert link.read(len(BEGUN)) == BEGUN
            left = size
            while left:
                piece = link.file.read1(min(left, 1 << 20))
                assert piece.strip(b"x") == b""
                left -= len(piece)
            assert link.read(len(b"\r\n" + END)) == b"\r\n" + END
            link.answer(b"1")
            assert wire.response().body == b"1"


def test_a_backend_that_takes_nothing_for_long_is_given_up(start_router: StartRouter) -> None:
    with Peer(receive_buffer=65_536) as peer:
        router = start_router({"m": peer.url})
        with Wire(router.port) as wire:
            wire.send(head(50_000_000) + BEGUN)
            link = peer.accept()
            sent, stalls = 0, 0
            wire.socket.setblocking(False)
            while stalls < 3:
                try:
                    sent += wire.socket.send(b"x" * 1_000_000)
                    stalls = 0
                except BlockingIOError:
                    until_read(router)
                    stalls += 1
            wire.socket.settimeout(TIMEOUT)
            router.sweep_after(1)
            router.sweep_after(1 + 599)
            until_read(router)
            router.sweep_after(1 + 601)
            assert error_of(wire) == (504, "backend_timeout")
            link.file.read()


SLOWEST = {"responseTimeout": 4, "readTimeout": 4}


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])
@pytest.mark.parametrize("pauses", [1, 3])
def test_a_client_that_pauses_in_its_form_is_not_the_backends_fault(
    start_fake: StartFake, begun: bytes, pauses: int
) -> None:
    router = start_fake(models={"m": {"url": "http://192.0.2.1", **SLOWEST}})
    client = router.client()
    rest = b"x" * 1000 + b"\r\n" + END
    router.send(client, head(len(BEGUN) + len(rest) + 20_000 * pauses) + BEGUN)
    backend = router.backend()
    backend.room = 10**9
    if begun:
        router.event(lambda: backend.peer_sends(begun))
    for _ in range(pauses):
        router.wait(15)
        router.send(client, b"x" * 20_000)
    assert statuses(client) == ([200] if begun else [])
    assert not router.server.models.all()["m"].replicas[0].ejected
    router.send(client, rest)
    # From now on the backend is waited for, and has its whole time.
    ended = []
    for seconds in (4, 2):
        router.wait(seconds)
        ended.append(backend.lost)
    assert ended == [False, True]
    assert statuses(client) == ([200] if begun else [504])
    assert router.server.models.all()["m"].replicas[0].ejected != bool(begun)


def test_a_client_that_stops_within_its_form_is_told_so(start_fake: StartFake) -> None:
    router = start_fake(models={"m": {"url": "http://192.0.2.1", **SLOWEST}})
    client = router.client()
    router.send(client, head(90_000) + BEGUN)
    router.backend().room = 10**9
    router.wait(25)
    assert statuses(client) == [408]
    assert not router.server.models.all()["m"].replicas[0].ejected


def test_a_backend_that_takes_nothing_of_a_form_has_its_time_and_no_more(
    start_fake: StartFake,
) -> None:
    router = start_fake(models={"m": {"url": "http://192.0.2.1", **SLOWEST}})
    client = router.client()
    router.send(client, head(90_000) + BEGUN)
    router.backend()
    router.send(client, b"x" * 1000)  # more than the backend has room for
    router.wait(6)
    assert statuses(client) == [504]
    assert router.server.models.all()["m"].replicas[0].ejected
