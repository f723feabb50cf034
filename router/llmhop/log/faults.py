"""Steps whose exceptions are logged and contained, so that the next steps go on."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from llmhop.log.logger import log

T = TypeVar("T")


def log_fault(what: str, error: BaseException) -> None:
    """Log that `what` failed, with a traceback."""
    lines = traceback.format_exception(error)
    log(f"{what} failed with {type(error).__name__}", ":\n" + "".join(lines).rstrip("\n"))


def attempt(what: str, step: Callable[[], object]) -> bool:
    """Take a step; answer whether it went well."""
    try:
        step()
    except Exception as error:
        log_fault(what, error)
        return False
    return True


def attempt_each(
    what: str,
    items: Iterable[T],
    step: Callable[[T], object],
    instead: Callable[[T], object] | None = None,
) -> bool:
    """Take a step for each of `items`, and another one `instead` where that goes wrong.

    Answer whether all went well.
    """
    well = True
    for item in items:
        try:
            step(item)
        except Exception as error:
            well = False
            log_fault(what, error)
            if instead is not None:
                attempt(f"giving up after {what}", partial(instead, item))
    return well


def log_loops_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what an event loop could not tell anybody (loop.set_exception_handler)."""
    message, error = str(context["message"]), context.get("exception")
    if isinstance(error, BaseException):
        log_fault(f"a callback ({message})", error)
    else:
        log(message)
