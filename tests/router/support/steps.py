"""Steps of what reads bytes, compared for n and 2 n (see step_counter)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from llmhop.errors import ApiError, BackendError

from tests.router.support.step_counter import StepCounter, load

COUNTER = StepCounter()
LOADED = load(COUNTER)
REFUSED = (ApiError, BackendError, LOADED["http.body.chunked"].ChunkError)

Make = Callable[[int], bytes]
"""Makes an input of a size."""


def steps(work: Callable[[], Any]) -> int:
    COUNTER.steps = 0
    with contextlib.suppress(*REFUSED):
        work()
    return COUNTER.steps


def assert_in_proportion(cost: Callable[[int], int], n: int) -> None:
    once, twice = cost(n), cost(2 * n)
    assert twice <= 2.2 * once + 2_000, (once, twice)


def distinct(n: int, text: bytes) -> bytes:
    """Return `text` once for each number."""
    return b"".join([text % i for i in range(n)])


def pieces(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)] if size else [raw]
