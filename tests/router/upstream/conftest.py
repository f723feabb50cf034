"""Fixtures of the tests of backends' connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.router.support.fakes.names import Names


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """What the system's resolver knows, in place of what it does know."""
    names = Names(monkeypatch)
    yield names
    names.release()
