"""The cache of what is slow to make."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.host.cache import Cache, default_directory, digest


def test_an_artefact_is_made_once_for_the_same_inputs(tmp_path: Path) -> None:
    cache, calls = Cache(tmp_path), []

    def make(target: Path) -> None:
        calls.append(target)
        target.write_text("made")

    first = cache.artefact("thing", ["a"], make)
    assert cache.artefact("thing", ["a"], make) == first
    assert cache.artefact("thing", ["b"], make) != first
    assert len(calls) == 2
    assert first.read_text() == "made"


def test_an_artefact_whose_making_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(target: Path) -> None:
        target.mkdir()
        (target / "half").touch()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Cache(tmp_path).artefact("thing", [], fail)
    assert [path.name for path in tmp_path.iterdir()] == ["thing.lock"]


def test_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".making-thing-old").mkdir()
    Cache(tmp_path).artefact("thing", [], Path.touch)
    assert not (tmp_path / ".making-thing-old").exists()


def test_what_was_not_used_for_long_goes_with_the_next_making(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    old, used = (cache.artefact("thing", [text], Path.touch) for text in "ab")
    for path in (old, used):
        os.utime(path, (0, 0))
    cache.artefact("thing", ["b"], Path.touch)
    new = cache.artefact("thing", ["c"], Path.touch)
    assert sorted(tmp_path.glob("thing-*")) == sorted([used, new])


def test_two_makers_at_once_make_one_artefact(tmp_path: Path) -> None:
    calls: list[Path] = []
    entered = threading.Event()
    release = threading.Event()

    def make(target: Path) -> None:
        calls.append(target)
        entered.set()
        release.wait()
        target.touch()

    def work() -> None:
        Cache(tmp_path).artefact("thing", [], make)

    threads = [threading.Thread(target=work) for _ in range(2)]
    threads[0].start()
    entered.wait()
    threads[1].start()
    release.set()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_digest_covers_names_and_contents(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_text("1")
    before = digest([tree])
    (tree / "a").write_text("2")
    changed = digest([tree])
    (tree / "a").rename(tree / "b")
    assert len({before, changed, digest([tree]), digest(["tree"])}) == 4


def test_the_cache_follows_the_base_directory_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "llmhop-tests"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_directory() == Path("/home/someone/.cache/llmhop-tests")
