"""What a killed run leaves of files, and what is nobody's but others'."""

from pathlib import Path

import pytest
from llmhop_generator import layout
from llmhop_generator.host import files


def test_what_a_killed_run_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    stays = [".env.template", ".llmhop.json.orig", ".llmhop.json.UPPER_1", ".other.abcdefgh"]
    for name in [*stays, ".llmhop.json.a1_bcdef", "llmhop.json"]:
        (tmp_path / name).touch()
    (tmp_path / ".llmhop.json.director").mkdir()
    (tmp_path / ".llmhop.json.linklink").symlink_to("/nowhere")
    files.discard_unfinished(tmp_path, "llmhop.json")
    left = {".llmhop.json.director", ".llmhop.json.linklink", "llmhop.json", *stays}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_the_name_of_what_is_being_written_is_one_that_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_path: Path, _target: Path) -> None:
        raise SystemExit

    monkeypatch.setattr(Path, "replace", die)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # as where it is killed
    with pytest.raises(SystemExit):
        files.write(tmp_path / "llmhop.json", "{}")
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 1
    files.discard_unfinished(tmp_path, "llmhop.json")
    assert not list(tmp_path.iterdir())


def test_every_file_of_the_state_directory_is_one_that_is_looked_after() -> None:
    named = {value for value in vars(layout).values() if isinstance(value, Path)}
    assert {path for path in named if path.parent == layout.STATE_DIR} == {*layout.STATE_FILES}
