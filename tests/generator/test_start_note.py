"""The note that a unit leaves at each start."""

import os
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.environment import digests
from llmhop_generator.files import read_of_others
from llmhop_generator.start_note import (
    StartNote,
    note_of,
    with_environment,
    with_note,
    without_note,
)
from llmhop_generator.units import quadlet_files

from tests.generator.contracts import vllm_of


@pytest.fixture
def unit(minimal: dict[str, Any]) -> str:
    minimal["vllm"]["serviceConfig"] = {"ExecStartPre": ""}
    vllm = vllm_of(minimal)
    [text] = quadlet_files(vllm).values()
    return text


def service_lines(unit: str) -> list[str]:
    return unit.split("[Service]\n")[1].split("\n\n")[0].splitlines()


def test_each_unit_leaves_its_own_note_after_all_that_a_deployer_adds(unit: str) -> None:
    *_, emptied, note = service_lines(unit)
    assert emptied == "ExecStartPre="
    left = note_of(unit)
    assert left is not None
    assert f"echo {left.digest} 18001 >%t/vllm-qwen2-5-7b.started" in note


def test_a_note_tells_of_every_change_but_the_start_order(unit: str) -> None:
    def again(text: str) -> StartNote | None:
        return note_of(with_note(text, "vllm-qwen2-5-7b", 18001))

    assert again(unit) == note_of(unit)
    assert again(unit.replace("StopTimeout=", "StopTimeout=1")) != note_of(unit)
    assert again(unit.replace("[Unit]\n", "[Unit]\nAfter=vllm-b.service\n")) == note_of(unit)
    assert note_of(with_environment(unit, "digest")) != note_of(unit)
    assert with_environment(with_environment(unit, "digest"), "") == unit


def test_without_its_note_a_unit_leaves_none(unit: str) -> None:
    bare = without_note(unit)
    assert note_of(bare) is None
    assert with_environment(bare, "digest") == bare
    assert with_note(bare, "vllm-qwen2-5-7b", 18001) == unit


@pytest.mark.parametrize(
    "text", ["", "\n", "0" * 32, "0" * 32 + " x\n", "0" * 33 + " 1\n", "\0" * 9]
)
def test_what_is_no_note_is_as_if_there_was_none(text: str) -> None:
    assert StartNote.parse(text) is None
    assert StartNote.parse("0" * 32 + " 18001\n") == StartNote("0" * 32, 18001)


def test_of_another_users_file_no_more_is_read_than_a_note_and_nothing_waits(
    tmp_path: Path,
) -> None:
    plain, link, pipe = tmp_path / "plain", tmp_path / "link", tmp_path / "pipe"
    plain.write_text("x" * 1000)
    link.symlink_to(plain)
    os.mkfifo(pipe)
    assert read_of_others(plain, 200) == "x" * 200
    for path in (link, pipe, tmp_path, tmp_path / "absent"):
        assert read_of_others(path, 200) is None


def test_an_environment_file_that_nobody_writes_is_not_waited_for(tmp_path: Path) -> None:
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_text("A=1")
    os.mkfifo(pipe)
    sources = {
        str(path): f"[Container]\nEnvironmentFile={path}\n"
        for path in (file, pipe, tmp_path, tmp_path / "absent")
    }
    found = digests(sources, b"key")
    assert len({*found.values()}) == 2
    assert found[str(pipe)] == found[str(tmp_path / "absent")] != found[str(file)]
