"""What the API of Anthropic has in other shapes than that of OpenAI: errors and the list of models.

vLLM serves it at /v1/messages (https://docs.anthropic.com/en/api/errors, …/api/models-list).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from llmhop.errors import ApiError
from llmhop.http.parsed_head import RequestHead

_VERSION: Final = b"anthropic-version"
_MESSAGES: Final = b"/v1/messages"
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def is_of_anthropic(head: RequestHead) -> bool:
    """Whether a request is one of that API: by its path, or by a field that its clients send."""
    return _MESSAGES in head.path or _VERSION in head.names


def error_body(error: ApiError, request_id: str) -> bytes:
    """Return the JSON body by which a client of that API is told of an error."""
    fallback = "api_error" if error.status >= 500 else "invalid_request_error"
    told = {"type": _TYPES.get(error.status, fallback), "message": error.message}
    return msgspec.json.encode({"type": "error", "error": told, "request_id": request_id})


def model_entry(name: str, created: int) -> dict[str, object]:
    """Describe a model, which is there since a Unix time."""
    at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": at}


def model_list(names: Iterable[str], created: int) -> bytes:
    """Return the list of models, in one page."""
    entries = [model_entry(name, created) for name in names]
    ends = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
    return msgspec.json.encode(
        {"data": entries, "has_more": False, "first_id": ends[0], "last_id": ends[1]}
    )
