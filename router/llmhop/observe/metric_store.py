"""The numbers of every process that serves, in memory that all of them share.

Each process has a slot that only it writes, so that nothing is locked, and any of them can add all
slots up. What a process counted outlives it: the one that takes its place counts on from there.
A process counts in lists of its own and publishes them with each sweep and before it makes a page
of them, because a list costs half of what shared memory does. One killed in between loses that
much, and no sum ever falls.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from llmhop.config.tables.client import MAX_CLIENTS
from llmhop.log.faults import attempt_each
from llmhop.observe.metric_layout import GAUGES, MODEL_VALUES, PROCESS_GAUGES, PROCESS_VALUES

MAX_ROWS: Final = 8192
"""Rows in a slot: a model's, and one for each client with a name that used it; those that a reload
took away included. What has no row is counted as OTHERS, of the client as long as there is room."""

OTHERS_ROWS: Final = MAX_CLIENTS + 1
"""Rows that are kept for OTHERS."""

OTHERS: Final = "(others)"
NO_MODEL: Final = ""
"""The name for requests that reach no model, whatever they ask for."""

_NAME_BYTES: Final = 252
"""Longer names of models are counted together with those that begin alike."""

_CLIENT_BYTES: Final = 64
"""The configuration allows no longer names of clients."""

_MAP_NORESERVE: Final = 0x4000  # Linux: memory is taken as rows are, none for rows to come

# In native order and alignment, each number is written and read in one piece.
_HEADER: Final = struct.Struct(f"@QQ{PROCESS_VALUES}Q")  # rows, process id, its numbers
# Lengths and texts: of the client, and of the model.
_NAME: Final = struct.Struct(f"@HH{_CLIENT_BYTES}s{_NAME_BYTES}s")
_VALUES: Final = struct.Struct(f"@{MODEL_VALUES}Q")
_ROW_BYTES: Final = _NAME.size + _VALUES.size
_SLOT_BYTES: Final = _HEADER.size + _ROW_BYTES * MAX_ROWS


RowName = tuple[str, str]
"""A model, and the name of the client that used it, or an empty one."""


class Row:
    """What a process counts for one model and client. Whatever changes `values` sets `changed`."""

    __slots__ = ("_offset", "changed", "values")

    def __init__(self, offset: int, values: list[int]) -> None:
        self._offset = offset
        self.values = values
        self.changed = False

    def publish(self, memory: mmap.mmap) -> None:
        """Write the numbers where the others read them."""
        self.changed = False
        _VALUES.pack_into(memory, self._offset, *self.values)


class Slot(NamedTuple):
    """What is known of one process: `process_id` is 0 where none runs."""

    process_id: int
    process: list[int]
    rows: dict[RowName, list[int]]


class MetricStore:
    """Slots for so many processes. Made before they are forked."""

    def __init__(self, slots: int) -> None:
        self.memory = mmap.mmap(
            -1,
            slots * _SLOT_BYTES,
            mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _MAP_NORESERVE,
        )
        self._slots = slots

    def read(self) -> Iterator[Slot]:
        """Give each slot, as it was published last."""
        for number in range(self._slots):
            start = number * _SLOT_BYTES
            count, process_id, *process = _HEADER.unpack_from(self.memory, start)
            rows = {}
            for index in range(count):
                offset = start + _HEADER.size + index * _ROW_BYTES
                client_bytes, model_bytes, client, model = _NAME.unpack_from(self.memory, offset)
                name = (
                    model[:model_bytes].decode(errors="replace"),
                    client[:client_bytes].decode(errors="replace"),
                )
                rows[name] = list(_VALUES.unpack_from(self.memory, offset + _NAME.size))
            yield Slot(process_id, process, rows)

    def ended(self, number: int) -> None:
        """Take note that the process of a slot is gone, and what it had open with it."""
        metrics = Metrics(self, number, 0)
        metrics.publish()


class Metrics:
    """The slot of one process, for that process to count in."""

    def __init__(self, store: MetricStore, slot: int, process_id: int) -> None:
        """Go on with the counters of `slot` where its last process left them; gauges start at 0."""
        self.store = store
        self._start = slot * _SLOT_BYTES
        self._process_id = process_id
        found = list(store.read())[slot]
        self.process = found.process
        for gauge in PROCESS_GAUGES:
            self.process[gauge] = 0
        self._rows: dict[RowName, Row] = {}
        for name, values in found.rows.items():
            for gauge in GAUGES:
                values[gauge] = 0
            self._add(name, values).changed = True

    def row(self, model: str, client: str = "") -> Row:
        """Return where a model's requests are counted, those of a client with a name apart."""
        row = self._rows.get((model, client))
        if row is not None:
            return row
        name = (model.encode()[:_NAME_BYTES].decode(errors="replace"), client)
        row = self._rows.get(name)
        if row is None:
            left = MAX_ROWS - len(self._rows)
            if left <= OTHERS_ROWS and model != OTHERS:
                return self.row(OTHERS, client)
            if left <= 1 and client:
                return self.row(OTHERS)
            row = self._add(name, [0] * MODEL_VALUES)
        return row

    def clear_gauges(self) -> None:
        """Set the gauges of every model to 0, to be counted anew."""
        for row in self._rows.values():
            for gauge in GAUGES:
                if row.values[gauge]:
                    row.values[gauge] = 0
                    row.changed = True

    def publish(self) -> None:
        """Write what has changed to where the others read it."""
        memory = self.store.memory
        changed = [row for row in self._rows.values() if row.changed]
        attempt_each("publishing a model's numbers", changed, lambda row: row.publish(memory))
        header = (len(self._rows), self._process_id, *self.process)
        _HEADER.pack_into(self.store.memory, self._start, *header)

    def _add(self, name: RowName, values: list[int]) -> Row:
        offset = self._start + _HEADER.size + len(self._rows) * _ROW_BYTES
        # A name that was cut within a character may be longer again.
        model, client = name[0].encode()[:_NAME_BYTES], name[1].encode()[:_CLIENT_BYTES]
        _NAME.pack_into(self.store.memory, offset, len(client), len(model), client, model)
        row = self._rows[name] = Row(offset + _NAME.size, values)
        return row
