"""The note that a unit leaves at each start."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from llmhop_generator.host.files import read_of_others
from llmhop_generator.render.model_unit import quadlet_files
from llmhop_generator.render.start_note import (
    Started,
    StartNote,
    environment_of,
    is_note,
    note_of,
    with_environment,
    with_note,
    without_note,
)
from llmhop_generator.state.environment import digests

from tests.generator.support.contracts import vllm_of

FIRST, SECOND, THIRD = (f"{number:032x}" for number in (1, 2, 3))


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
    assert "n=%t/%N.started;" in note
    left = note_of(unit)
    assert left is not None
    assert left.port == 18001


def test_a_note_tells_of_every_change_but_the_start_order(unit: str) -> None:
    for edited in (
        unit.replace("StopTimeout=", "StopTimeout=1"),
        unit.replace("[Container]\n", "[Container]\n# by hand\n"),
        unit.replace("\n[Install]", "MemoryMax=1G\n\n[Install]"),
        unit + "\n",
        with_environment(unit, "digest"),
    ):
        assert edited != unit
        assert note_of(edited) not in (None, note_of(unit))
    assert note_of(unit.replace("[Unit]\n", "[Unit]\nAfter=vllm-b.service\n")) == note_of(unit)
    assert environment_of(with_environment(unit, "digest")) == "digest"
    assert with_environment(with_environment(unit, "digest"), "") == unit


def test_without_its_note_a_unit_leaves_none(unit: str) -> None:
    bare = without_note(unit)
    assert note_of(bare) is None
    assert with_environment(bare, "digest") == bare
    assert with_note(bare) == unit


def test_a_note_without_a_port_is_none(unit: str) -> None:
    assert note_of(unit.replace("PublishPort=", "PublishPorts=")) is None
    found = note_of(unit.replace("PublishPort=127.0.0.1:18001", "PublishPort=18009"))
    assert found is not None
    assert found.port == 18009


@pytest.mark.parametrize("text", ["", "0" * 32, "0" * 32 + " x", "0" * 33 + " 1", "\0" * 9])
def test_what_was_not_kept_as_a_note_is_none(text: str) -> None:
    assert StartNote.parse(text) is None
    kept = StartNote("0" * 32, 18001)
    assert StartNote.parse(str(kept)) == kept


Edit = Callable[[Path], object]


def left_by(unit: str, text: str, *edits: Edit) -> str:
    """What the line of a unit leaves where its source holds `text`, run by a shell as systemd's.

    Each of `edits` changes the source after its service was made of it, and a start follows.
    """
    [line] = [line for line in unit.splitlines() if is_note(line)]
    script = line.partition(' -c "')[2].partition('"')[0]
    with TemporaryDirectory() as directory:
        place = Path(directory)
        source, systemctl = place / "source", place / "systemctl"
        source.write_text(text)
        reload(source)
        systemctl.write_text(
            f"#!/bin/sh\n[ \"$*\" = '--user show -P SourcePath x' ] && echo {source}\n"
        )
        systemctl.chmod(0o755)
        made = place / "made"
        for word, means in (("%t/%N", f"{place}/x"), ("%n", "x"), ("%y", str(made)), ("%%", "%")):
            script = script.replace(word, means)
        command = ["/bin/sh", "-c", script.replace("$$", "$")]
        for number, edit in enumerate(edits, start=1):
            edit(source)
            environment = {
                "PATH": f"{place}:{os.environ['PATH']}",
                "INVOCATION_ID": f"{number:032x}",
            }
            subprocess.run(command, env=environment, check=True, capture_output=True)
        return (place / "x.started").read_text()


def reload(source: Path) -> None:
    """Have a service made of a source that is there, up to its first comment."""
    made = source.with_name("made")
    time.sleep(0.02)  # longer than the kernel's clock of files takes for a step
    command = f"ExecStart=podman run {time.monotonic_ns()}\n"  # which Podman puts in any order
    made.write_text(source.read_text().partition("#")[0] + f"\n{command}")
    time.sleep(0.02)


def start(_: Path) -> None:
    """Change nothing."""


def edited(source: Path) -> None:
    source.write_text("edited")


def comes_back(text: str) -> Edit:
    return lambda source: source.write_text(text)


def steps(*edits: Edit) -> Edit:
    """Several changes with no start between them."""

    def each(source: Path) -> None:
        for edit in edits:
            edit(source)

    return each


@pytest.mark.parametrize("text", ["", "one", "one\n", "one\n\n", "a\\n $(b) %t\n"])
def test_a_start_leaves_the_text_of_its_source(unit: str, text: str) -> None:
    assert Started.parse(left_by(unit, text, start)) == Started(text, FIRST)


def put_back(source: Path) -> None:
    """Replace a file by an older one that says the same."""
    kept = source.with_name("kept")
    kept.write_text(source.read_text())
    os.utime(kept, (1, 1))
    kept.rename(source)


def written_over(source: Path) -> None:
    """Write into a file, and have it look as old as it was."""
    source.write_text(source.read_text())
    os.utime(source, (1, 1))


@pytest.mark.parametrize("edit", [Path.touch, put_back, written_over])
def test_a_text_that_systemd_may_not_have_read_says_nothing(unit: str, edit: Edit) -> None:
    assert Started.parse(left_by(unit, unit, edit)) == Started(None, FIRST)
    assert Started.parse(left_by(unit, unit, edit, start)) == Started(None, SECOND)
    assert Started.parse(left_by(unit, unit, edit, reload)) == Started(unit, SECOND)


@pytest.mark.parametrize(
    "edit", [Path.touch, put_back, written_over, edited, Path.unlink, steps(reload, Path.touch)]
)
@pytest.mark.parametrize("text", ["", "one\n", "a\\n $(b) %t\n\n"])
def test_what_systemd_has_read_is_known_from_the_start_before(text: str, edit: Edit) -> None:
    unit = with_note("[Service]\n")
    assert Started.parse(left_by(unit, text, start, edit)) == Started(text, SECOND)
    assert Started.parse(left_by(unit, text, start, edit, start)) == Started(text, THIRD)


def test_another_service_than_that_of_the_start_before_says_nothing(unit: str) -> None:
    back = comes_back(unit)
    for edit in (steps(edited, reload, back), steps(edited, reload, Path.touch)):
        assert Started.parse(left_by(unit, unit, start, edit)) == Started(None, SECOND)
    then = steps(edited, reload)
    assert Started.parse(left_by(unit, unit, start, then, back)) == Started("edited", THIRD)
    assert Started.parse(left_by(unit, unit, start, then, steps(back, reload))) == Started(
        unit, THIRD
    )


def test_where_a_source_is_gone_nothing_is_told(unit: str) -> None:
    assert Started.parse(left_by(unit, unit, Path.unlink)) is None


def test_what_a_start_did_not_leave_whole_is_none(unit: str) -> None:
    left = left_by(unit, unit, start)
    assert Started.parse(left) is not None
    for cut in range(1, len(left) - len(unit) + 1):
        assert Started.parse(left[:-cut]) is None
    assert Started.parse("0" * 32 + " 18001\n") is None


def test_another_users_file_is_read_up_to_a_note_and_nothing_waits(
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
