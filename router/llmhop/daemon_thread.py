"""Calls that may hang, each in a thread of its own that nothing waits for.

Not in asyncio's executors: what hangs there takes a thread from everyone else, and the end of the
event loop, as that of the interpreter, waits for it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def call_in_thread(what: str, function: Callable[[], T]) -> Future[T]:
    """Call a function in a thread named `what`, which the end of the process does not wait for.

    It can't be cancelled. Raises OSError where there is no room for another thread.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    try:
        Thread(target=run, name=what, daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.ENOMEM, str(error)) from error
    return future
