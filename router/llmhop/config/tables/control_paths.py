"""The paths by which an engine is administered, and which of them a request may mean.

Those of vLLM up to 0.32: what its security page calls operational, development and profiling
endpoints (https://docs.vllm.ai/en/latest/usage/security/), what its servers have beside those, and
the two that load and unload adapters. None of them asks for a key of vLLM's own but the latter.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from llmhop.config.schema.kinds import Text

CONTROL_PATHS: Final = (
    "/abort_requests",
    "/collective_rpc",
    "/fault_tolerance/apply",
    "/fault_tolerance/status",
    "/finish_weight_update",
    "/get_world_size",
    "/inference/v1/abort_requests",
    "/init_weight_transfer_engine",
    "/invocations",
    "/is_paused",
    "/is_scaling_elastic_ep",
    "/is_sleeping",
    "/kv_event_sources",
    "/pause",
    "/release_kv_cache_memory",
    "/reset_encoder_cache",
    "/reset_mm_cache",
    "/reset_prefix_cache",
    "/resume",
    "/scale_elastic_ep",
    "/server_info",
    "/shutdown_weight_transfer_engine",
    "/sleep",
    "/start_draft_weight_update",
    "/start_profile",
    "/start_weight_update",
    "/stop_profile",
    "/tokenizer_info",
    "/update_weight_version",
    "/update_weights",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/wake_up",
    "/weight_checker",
    "/weight_info",
)
ANY_PATH: Final = "*"

_SLASHES: Final = re.compile(rb"/+")
# Starlette matches a path by a pattern that ends in $, which in Python is before a last \n, too.
_UNPRINTED: Final = bytes(range(0x21)) + b"\x7f"
_ROUTE: Final = b"route"
# The `/v1` before them may stand in the url of a backend.
_BY_END: Final = {
    tuple(path.encode().removeprefix(b"/v1").strip(b"/").split(b"/")): path
    for path in CONTROL_PATHS
}
_LENGTHS: Final = sorted({len(end) for end in _BY_END}, reverse=True)


def find_control_path(path: bytes) -> str | None:
    """Return the control path that an engine may take `path`, of a request, for; or None.

    The engine may stand behind a prefix of its own (vLLM's --root-path), and proxies before it read
    escapes, dots and repeated slashes in ways of their own: any path that ends in a control path
    counts.
    """
    segments = _segments(path)
    for length in _LENGTHS:
        found = _BY_END.get(tuple(segments[-length:]))
        if found is not None:
            return found
    return None


def leads_on(path: bytes) -> bool:
    """Whether a path names a model to an llmhop behind this one, beside that of the request."""
    return _segments(path)[:1] == [_ROUTE]


def _segments(path: bytes) -> list[bytes]:
    segments: list[bytes] = []
    printed = unquote_to_bytes(path).translate(None, _UNPRINTED)
    for segment in _SLASHES.split(printed.lower()):
        if segment == b"..":
            del segments[-1:]
        elif segment not in (b"", b"."):
            segments.append(segment)
    return segments


METRICS: Final = "/metrics"
"""llmhop's own metrics, which tell of every client and model; those of a model are open."""


class _PathName(Text[str]):
    """One of some paths, or all of them."""

    def __init__(self, *paths: str) -> None:
        self._paths = frozenset([*paths, ANY_PATH])
        super().__init__(
            self._parse_path,
            'write a control path, such as "/sleep", or "*" for all',
            enum=[*paths, ANY_PATH],
        )

    def _parse_path(self, text: str) -> str:
        if text not in self._paths:
            raise ValueError("is no path that has to be allowed")
        return text


CONTROL_PATH: Final = _PathName(*CONTROL_PATHS)
"""A path that a model's clients may use, or all of them."""

CLIENT_PATH: Final = _PathName(METRICS, *CONTROL_PATHS)
"""A path that one client may use, or all of them."""
