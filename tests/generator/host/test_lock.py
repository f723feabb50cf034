"""One run at a time: who waits for another one, and who does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import lock


@pytest.fixture(autouse=True)
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A lock of this test's own."""
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock")
    return tmp_path / "lock"


def test_a_second_run_waits_for_the_first_and_names_it(file: Path) -> None:
    said: list[str] = []
    with lock.locked(0, said.append):
        holder = f"pid {file.read_text().strip()}"
        with pytest.raises(GeneratorError, match=holder), lock.locked(0.3, said.append):
            raise AssertionError("both hold it")
    assert said == [f"waiting for another run ({holder})"]
    with lock.locked(0, said.append):
        pass


def test_a_run_that_does_not_wait_names_the_holder_of_the_lock() -> None:
    said: list[str] = []
    with lock.try_locked(said.append) as alone:
        assert alone
        with lock.try_locked(said.append) as second:
            assert not second
    assert len(said) == 1
    assert said[0].startswith("another run is at work (pid ")


def test_one_that_does_not_wait_keeps_others_waiting() -> None:
    with (
        lock.try_locked(print),
        pytest.raises(GeneratorError, match="another run is at work"),
        lock.locked(0, print),
    ):
        raise AssertionError("both hold it")


def test_a_lock_that_can_not_be_opened_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOCK", Path("/nowhere/lock"))
    for one in (lock.try_locked(print), lock.locked(0, print)):
        with (
            pytest.raises(GeneratorError, match="can't be opened: No such file"),
            one,
        ):
            raise AssertionError("it was held")


def test_the_holder_of_the_lock_is_known_without_trying_it(file: Path) -> None:
    assert lock.run_at_work() is None
    with lock.locked(0, print):
        assert lock.run_at_work() == os.getpid()
        # Of another pid, it is not the run that has signed.
        file.write_text("1\n")
        assert lock.run_at_work() is None
    assert lock.run_at_work() is None
    with file.open():  # no run
        assert lock.run_at_work() is None
