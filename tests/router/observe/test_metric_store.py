"""What processes count, in memory that they share."""

from __future__ import annotations

import pytest
from llmhop.observe.metric_layout import IN_FLIGHT, MODEL_VALUES, STATUS
from llmhop.observe.metric_store import MAX_ROWS, OTHERS, OTHERS_ROWS, Metrics, MetricStore


def test_counters_go_on_where_the_last_process_of_a_slot_left_them() -> None:
    store = MetricStore(2)
    first = Metrics(store, 0, 11)
    row = first.row("m")
    row.values[STATUS] = 5
    row.values[IN_FLIGHT] = 2
    row.changed = True
    first.publish()
    other = Metrics(store, 1, 22)
    other.row("m").values[STATUS] = 1
    other.publish()  # the row was not marked as changed
    store.ended(0)
    assert [slot.process_id for slot in store.read()] == [0, 22]
    second = Metrics(store, 0, 33)
    second.row("n")
    second.publish()
    slots = list(store.read())
    assert slots[0].process_id == 33
    assert slots[0].rows["m", ""][STATUS] == 5
    assert slots[0].rows["m", ""][IN_FLIGHT] == 0
    assert slots[0].rows["n", ""] == [0] * MODEL_VALUES


@pytest.mark.parametrize("name", ["", "\u00e9" * 127, "\u00e9" * 128, "x\u00e9" * 200, "x" * 9999])
def test_any_name_is_found_again(name: str) -> None:
    metrics = Metrics(MetricStore(1), 0, 1)
    row = metrics.row(name)
    assert metrics.row(name) is row
    metrics.publish()
    again = Metrics(metrics.store, 0, 1)
    again.row(name)
    again.publish()
    [slot] = metrics.store.read()
    assert len(slot.rows) == 1


def test_more_models_than_there_is_room_for_are_counted_together() -> None:
    metrics = Metrics(MetricStore(1), 0, 1)
    rows = {id(metrics.row(f"m{n}")) for n in range(MAX_ROWS + 10)}
    assert len(rows) == MAX_ROWS - OTHERS_ROWS + 1
    named = {id(metrics.row(f"m{n}", f"c{n}")) for n in range(MAX_ROWS + 10)}
    assert len(named) == OTHERS_ROWS - 1
    assert len(rows | named) == MAX_ROWS - 1
    metrics.publish()
    [slot] = metrics.store.read()
    assert (OTHERS, "") in slot.rows
