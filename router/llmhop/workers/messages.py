"""The messages between a worker and its supervisor, one in each packet."""

from __future__ import annotations

from typing import Final

import msgspec

PART_BYTES: Final = 32 * 1024
"""Most of a config in one message: several fit into a socket's buffer."""


class Alive(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The worker's event loop runs."""


class Serving(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The worker accepts clients."""


class ConfigApplied(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The worker serves new requests by the config that it got."""


class ConfigRejected(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The worker can't serve by the config that it got."""

    reason: str


class Acquire(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A request of the worker wants a place at the gate of a model."""

    ticket: int
    model: str


class Release(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """It gives the place back, or wants it no more. Nothing happens where it was refused."""

    ticket: int


class StopWaiting(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """It waits no longer: it is to be refused, unless it has got a place or was refused before."""

    ticket: int


class ConfigPart(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A part of a config; `last` says that it is whole."""

    data: bytes
    last: bool


class Admitted(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The request got a place."""

    ticket: int


class QueueFull(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The request got no place, and may not wait for one."""

    ticket: int


class EndDrain(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The worker is to wait no longer for requests in flight."""


FromWorker = Alive | Serving | ConfigApplied | ConfigRejected | Acquire | Release | StopWaiting
FromSupervisor = ConfigPart | Admitted | QueueFull | EndDrain


def config_parts(data: bytes) -> list[ConfigPart]:
    """Cut a config into messages."""
    starts = range(0, len(data), PART_BYTES)
    return [ConfigPart(data[n : n + PART_BYTES], n + PART_BYTES >= len(data)) for n in starts]
