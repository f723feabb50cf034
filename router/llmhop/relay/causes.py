"""Why no replica served a request, and what its client is told of that."""

from __future__ import annotations

from typing import Final

from llmhop.backend.backends import Backend
from llmhop.errors import (
    ApiError,
    backend_error,
    backend_unavailable,
    leads_nowhere,
    queue_full,
)

# Of several replicas' reasons the greatest one is told.
LOOPED: Final = 1
UNREACHED: Final = 2
FULL: Final = 3
BROKE: Final = 4
"""One of them may have worked on the request."""


def error_for(cause: int, backend: Backend) -> ApiError:
    """Return the error that a client gets when no replica of `backend` is left."""
    if cause == BROKE:
        return backend_error(backend.model)
    if cause == FULL:
        return queue_full(backend.model)
    if cause == LOOPED:
        return leads_nowhere()
    return backend_unavailable(backend.model, backend.retry_after())
