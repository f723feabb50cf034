"""What is told of models that are not up, from what the journal has of them."""

import json
from typing import Any

import pytest
from llmhop_generator import failures
from llmhop_generator.journal import FAILED, STARTING
from llmhop_generator.why import why_not_up

A, B = "vllm-a.service", "vllm-b.service"


def engine(message: str) -> dict[str, Any]:
    return {"MESSAGE": message, "CONTAINER_NAME": "vllm-a", "_COMM": "conmon"}


def journal(monkeypatch: pytest.MonkeyPatch, **records: list[dict[str, Any]]) -> None:
    """Have the journal hold these records of services, each of one start that failed."""

    def read(service: str, _fields: object) -> list[str]:
        written = records.get(service.removesuffix(".service").removeprefix("vllm-"), [])
        start, end = {"MESSAGE_ID": STARTING}, {"MESSAGE_ID": FAILED}
        return [json.dumps(record) for record in (start, *written, end)]

    monkeypatch.setattr(failures, "user_unit_journal", read)


def test_each_model_that_is_not_up_is_told_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = "OSError: m does not appear to have a file named config.json"
    journal(monkeypatch, a=[engine("loading"), engine(" "), engine(loading)])
    told = why_not_up([A, B], []).splitlines()
    assert told[0] == f"not up: {A}, {B}. The other models serve."
    assert told[1].startswith(f"{A}: ") and loading in told[1], told
    assert f"{B}: nothing tells why" in told
    assert told[-1] == "See more: llmhop-generator logs a"


def test_below_a_cause_without_a_name_are_the_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"line {number}" for number in range(9)]
    journal(monkeypatch, a=[*map(engine, [*lines, " ", "RuntimeError: strange"])])
    told = why_not_up([A], []).splitlines()
    assert told[1] == f"{A}: RuntimeError: strange"
    assert told[2:-1] == [*(f"  {line}" for line in lines[-4:]), "  RuntimeError: strange"]


def test_a_line_that_is_the_cause_is_not_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    journal(monkeypatch, a=[engine("RuntimeError: strange")])
    assert len(why_not_up([A], []).splitlines()) == 3


def test_what_was_left_alone_is_told_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    journal(monkeypatch)
    left = why_not_up([A], [B]).splitlines()[1]
    assert left.startswith(f"Left as they were: {B}. They serve by their earlier units")
