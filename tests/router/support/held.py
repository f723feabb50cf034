"""A router whose event loop stands still, so that several things have happened when it goes on."""

from __future__ import annotations

import threading

from tests.router.support.endpoints import TIMEOUT, RunningRouter


class Held:
    """Holds a router's event loop up while something happens."""

    def __init__(self, router: RunningRouter) -> None:
        self._loop = router.thread.loop
        self._go_on = threading.Event()

    def __enter__(self) -> None:
        held = threading.Event()

        def hold() -> None:
            held.set()
            assert self._go_on.wait(TIMEOUT)

        self._loop.call_soon_threadsafe(hold)
        assert held.wait(TIMEOUT)

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
