"""WebSockets that are open: bytes pass both ways, and the end of one side is that of the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.router.conftest import StartBackend, StartFake, StartRouter
from tests.router.support.endpoints import TIMEOUT, Wire, chat, post, wait_until
from tests.router.support.peer import Peer
from tests.router.support.process import Run
from tests.router.support.scrape import Scrape
from tests.router.support.websocket import AGREE, ASK, opened, until_empty


def test_a_client_that_leaves_ends_the_backends_connection(start_router: StartRouter) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        wire, link = opened(router, peer)
        wire.send(b"last words")
        wire.close()
        assert link.recv(100, socket.MSG_WAITALL) == b"last words"
        link.shutdown(socket.SHUT_RDWR)
        until_empty(router)


def test_a_client_that_is_cut_off_ends_the_backends_connection(start_router: StartRouter) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        wire, link = opened(router, peer)
        # A reset in place of a FIN.
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.close()
        with contextlib.suppress(ConnectionResetError):
            assert link.recv(1) == b""
        until_empty(router)


def test_a_backend_that_leaves_ends_the_clients_connection(start_router: StartRouter) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        wire, link = opened(router, peer)
        link.sendall(b"last words")
        link.shutdown(socket.SHUT_WR)
        assert wire.file.read() == b"last words"
        wire.close()
        until_empty(router)


def test_a_client_that_has_said_all_still_hears_the_rest_but_not_for_ever(
    start_router: StartRouter,
) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        for answers in (True, False):
            wire, link = opened(router, peer)
            wire.socket.shutdown(socket.SHUT_WR)
            assert link.recv(1) == b""
            if answers:
                link.sendall(b"the rest")
                link.shutdown(socket.SHUT_WR)
                assert wire.file.read() == b"the rest"
            else:
                router.sweep_after(62)
                assert wire.at_end()
            wire.close()
            until_empty(router)


def test_a_quiet_websocket_is_left_alone_for_the_read_timeout(
    start_router: StartRouter, capfd: pytest.CaptureFixture[str]
) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        wire, link = opened(router, peer)
        for sender, said in ((wire.socket, b"still here"), (link, b"me too")):
            router.sweep_after(1)
            router.sweep_after(1 + 599)
            sender.sendall(said)
            got = link.recv(100) if sender is wire.socket else wire.file.read(len(said))
            assert got == said
            router.sweep_after(1 + 601)
            assert router.server.clients
        router.sweep_after(1 + 601 + 601)
        assert wire.at_end()
        wire.close()
        until_empty(router)
        router.sweep_after(0)
        # That nobody had anything to say is no failure of the backend.
        name = "llmhop_backend_failures_total"
        assert Scrape(router.port).value(name, model="m", kind="read_timeout") == 0
        output: list[str] = []

        def told() -> bool:
            output.append(capfd.readouterr().out)
            return " end=idle\n" in "".join(output)

        wait_until(told)


def test_a_backend_that_takes_nothing_more_on_a_websocket_has_failed(
    start_fake: StartFake, capfd: pytest.CaptureFixture[str]
) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, ASK)
    backend = router.backend()
    router.event(lambda: backend.peer_sends(AGREE))
    router.send(client, b"x" * 200_000)
    assert backend.unsent
    router.wait(598)
    assert not router.server.observer.ended
    router.wait(5)
    assert client.lost
    assert backend.lost
    [ended] = router.server.observer.ended
    assert (ended.status, ended.end) == (101, "backend_stalled")
    assert "took nothing more for 600 s" in capfd.readouterr().err


@pytest.mark.parametrize("to_client", [True, False])
def test_a_side_that_sends_faster_than_the_other_reads_waits(
    start_router: StartRouter, to_client: bool
) -> None:
    with Peer(receive_buffer=65_536) as peer:
        router = start_router({"m": peer.url})
        wire, link = opened(router, peer)
        sender, reader = (link, wire.socket) if to_client else (wire.socket, link)
        sender.setblocking(False)
        block, sent, stalls = b"x" * 1_000_000, 0, 0
        while stalls < 3:
            try:
                sent += sender.send(block)
                stalls = 0
            except BlockingIOError:
                with Wire(router.port) as other:
                    other.send(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
                    assert other.response().status == 200
                stalls += 1
            assert sent < 50_000_000
        reader.settimeout(TIMEOUT)
        left = sent
        while left:
            left -= len(reader.recv(min(left, 1 << 20)))
        sender.settimeout(TIMEOUT)
        sender.sendall(b"end")
        assert reader.recv(3, socket.MSG_WAITALL) == b"end"
        wire.close()


def test_the_end_of_llmhop_waits_for_websockets_and_then_cuts_them(
    start_router: StartRouter,
) -> None:
    with Peer() as peer:
        router = start_router({"m": peer.url})
        wire, link = opened(router, peer)
        drained = asyncio.run_coroutine_threadsafe(router.server.drain(30), router.thread.loop)
        wire.send(b"a")
        assert link.recv(1) == b"a"
        link.sendall(b"b")
        assert wire.file.read(1) == b"b"
        assert not drained.done()
        router.thread.run(router.server.drain(0))
        assert wire.at_end()
        with contextlib.suppress(ConnectionResetError):
            assert link.recv(1) == b""
        drained.result(TIMEOUT)
        wire.close()


def test_a_restart_ends_a_websocket_with_its_process(run: Run) -> None:
    with Peer() as peer:
        process = run({"models": {"m": {"url": peer.url}}})
        with Wire(process.port) as wire:
            wire.send(ASK)
            link = peer.accept()
            link.head()
            link.send(AGREE)
            assert wire.head()[0] == 101
            process.stop()
            wire.send(b"a")
            assert link.read(1) == b"a"
            link.close()
            assert wire.at_end()
        assert process.process.wait(TIMEOUT) == 0


def test_a_server_that_closes_is_heard_by_a_real_client(start_router: StartRouter) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.close(1008, "go away")

    async def talk() -> None:
        async with serve(leave, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            router = await asyncio.to_thread(start_router, {"m": f"http://127.0.0.1:{port}"})
            async with connect(f"ws://127.0.0.1:{router.port}/v1/realtime?model=m") as client:
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
            assert closed.value.rcvd == websockets.Close(1008, "go away")

    asyncio.run(talk())


def test_websockets_leave_connections_to_other_requests_alone(
    start_backend: StartBackend, start_router: StartRouter
) -> None:
    backend = start_backend()
    with Peer() as peer:
        router = start_router({"m": peer.url, "n": backend})
        wire, link = opened(router, peer)
        with Wire(router.port) as other:
            for _ in range(2):
                other.send(post(chat("n")))
                assert other.response().body == chat("n")
        assert backend.connections == 1
        link.shutdown(socket.SHUT_RDWR)
        assert wire.at_end()
        wire.close()
