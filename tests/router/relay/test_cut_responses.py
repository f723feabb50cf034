"""A response that breaks off never looks whole, and a client that leaves or lags is noticed."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest
from llmhop.client.connection import ClientConnection

from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.corpus.form_requests import BEGUN, head, until_read
from tests.router.support.corpus.responses import CHUNKED
from tests.router.support.endpoints import (
    TIMEOUT,
    RunningRouter,
    Wire,
    chat,
    post,
    stall,
    wait_until,
)
from tests.router.support.peer import Peer

UNFRAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
HTTP10 = post(chat()).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
HALF_CHUNK = CHUNKED + b"8\r\n"


def read_all(wire: Wire) -> bytes:
    """Everything up to the end of the connection. Raises ConnectionResetError."""
    received = b""
    while piece := wire.socket.recv(65536):
        received += piece
    return received


def read_until(wire: Wire, end: bytes) -> None:
    received = b""
    while not received.endswith(end):
        received += wire.socket.recv(1)


@pytest.mark.parametrize(
    ("request_", "start"),
    [(post(chat()), UNFRAMED), (HTTP10, UNFRAMED), (HTTP10, HALF_CHUNK)],
    ids=["unframed", "unframed to HTTP/1.0", "chunks to HTTP/1.0"],
)
@pytest.mark.parametrize("stalls", [False, True], ids=["reset", "stalled"])
def test_a_response_that_ends_with_the_connection_is_reset_where_it_breaks_off(
    request_: bytes, start: bytes, stalls: bool, start_router: StartRouter
) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        with Wire(router.port) as wire:
            wire.send(request_)
            link = peer.accept()
            link.head()
            link.read(len(chat()))
            link.socket.sendall(start + b"half")
            read_until(wire, b"half")
            if stalls:
                router.let_time_pass()
            else:
                link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                link.close()
            with pytest.raises(ConnectionResetError):
                read_all(wire)


@pytest.mark.parametrize(
    ("request_", "response"),
    [(post(chat()), UNFRAMED + b"half"), (HTTP10, CHUNKED + b"4\r\nhalf\r\n0\r\n\r\n")],
    ids=["unframed", "chunks to HTTP/1.0"],
)
def test_a_response_that_ends_with_the_connection_ends_in_good_order(
    request_: bytes, response: bytes, start_router: StartRouter
) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        with Wire(router.port) as wire:
            wire.send(request_)
            link = peer.accept()
            link.head()
            link.read(len(chat()))
            cut = response.index(b"half") + 2
            link.socket.sendall(response[:cut])
            read_until(wire, b"ha")
            link.socket.sendall(response[cut:])
            link.close()
            assert read_all(wire) == b"lf"


def test_the_end_of_llmhop_resets_what_would_look_whole(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    router = start_router({"m": start_backend(stall(UNFRAMED + b"half"))})
    with Wire(router.port) as wire:
        wire.send(post(chat()))
        read_until(wire, b"half")
        router.thread.run(router.server.drain(0))
        with pytest.raises(ConnectionResetError):
            read_all(wire)


def narrow(port: int) -> Wire:
    """A client whose kernel takes little ahead of it."""
    sock = socket.socket()
    sock.settimeout(TIMEOUT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    return Wire(sock)


PIECE = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"


def has_relayed(router: RunningRouter, client: ClientConnection, size: int) -> bool:
    return router.thread.call(lambda: client.record.bytes_out >= size)


@contextlib.contextmanager
def served_ahead(
    start_router: StartRouter, *headers: str, paused: bool = False
) -> Iterator[tuple[Wire, RunningRouter]]:
    """A client that has not read its response, the end of which waits in the router.

    With `paused` it is not the end yet, and the router reads no more of the backend.
    """
    with Peer() as peer:
        router = start_router({"m": peer.url})
        with narrow(router.port) as wire:
            wire.send(post(chat(), "/", *headers))
            link = peer.accept()
            link.head()
            (client,) = router.server.clients
            link.socket.sendall(CHUNKED)
            for sent in count(1):
                link.socket.sendall(PIECE)
                wait_until(partial(has_relayed, router, client, sent * len(PIECE)))
                _, high = client.transport.get_write_buffer_limits()
                if router.thread.call(client.transport.get_write_buffer_size) > high * paused:
                    break
            if not paused:
                link.socket.sendall(b"0\r\n\r\n")
                wait_until(partial(router.thread.call, lambda: not client.record.active))
            yield wire, router


@pytest.mark.parametrize("headers", [[], ["Connection: close"]], ids=["kept alive", "closing"])
def test_a_client_that_reads_the_rest_of_a_response_slowly_is_not_idle(
    headers: list[str], start_router: StartRouter
) -> None:
    with served_ahead(start_router, *headers) as (wire, router):
        router.sweep_after(80)
        assert wire.head()[0] == 200
        while chunk := wire.chunk():
            assert len(chunk) == 0x8000


def unacknowledged(router: RunningRouter, client: ClientConnection) -> int:
    """How many bytes the client's kernel has yet to take from this one (tcp(7), SIOCOUTQ)."""
    sock = client.transport.get_extra_info("socket")
    queued = router.thread.call(lambda: fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return int.from_bytes(queued, sys.byteorder)


@pytest.mark.parametrize("paused", [False, True], ids=["at the end", "within"])
def test_a_client_that_reads_in_small_steps_is_waited_for(
    paused: bool, start_router: StartRouter
) -> None:
    with served_ahead(start_router, paused=paused) as (wire, router):
        (client,) = router.server.clients
        kept = router.thread.call(client.transport.get_write_buffer_size)
        for seconds in range(0, 600, 50):
            router.sweep_after(seconds)
            before = unacknowledged(router, client)
            while unacknowledged(router, client) == before:
                assert wire.socket.recv(512)
        assert router.server.clients
        # The kernel wants no more yet, for which alone the event loop would know of it.
        assert router.thread.call(client.transport.get_write_buffer_size) == kept


def test_a_client_that_reads_nothing_of_the_rest_of_a_response_is_cut_off(
    start_router: StartRouter,
) -> None:
    with served_ahead(start_router) as (_, router):
        router.sweep_after(80)
        assert router.server.clients
        router.sweep_after(150)
        wait_until(lambda: not router.server.clients)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_client_that_leaves_while_the_backend_does_not_read_is_noticed(
    reset: bool, start_router: StartRouter
) -> None:
    with Peer(receive_buffer=65_536) as peer:
        router = start_router({"m": peer.url})
        with Wire(router.port) as wire:
            wire.send(head(50_000_000) + BEGUN)
            peer.accept()
            (client,) = router.server.clients
            stalled = partial(router.thread.call, lambda: client._session.socket.paused)
            while not stalled():
                wire.send(b"x" * 50_000)
                until_read(router)
            router.sweep_after(0)
            assert router.thread.call(lambda: client.record.active), "who waits is left alone"
            if reset:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def is_noticed() -> bool:
            router.sweep_after(0)
            return router.thread.call(lambda: not client.record.active)

        wait_until(is_noticed)
