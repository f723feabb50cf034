"""Files that hold no configuration: each gets its message with the place in it."""

import os
from pathlib import Path

import pytest

from tests.generator.conftest import Command


def deep(levels: int) -> str:
    return '{"version":1,"vllm":' + '{"a":' * levels + "1" + "}" * levels + "}"


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "not JSON": (b"{'version': 1}", "is not JSON"),
    "cut short": (b'{"version": 1', "line 1, column 14"),
    "not UTF-8": (b'{"version": "\xff"}', "is not UTF-8 (byte 13)"),
    "a list": (b"[]", "must be an object, not a list"),
    "a string": (b'"x"', "must be an object, not a string"),
    "null": (b"null", "must be an object, not null"),
    "a key twice": (b'{"version": 1, "version": 1}', "version: is there more than once; keep one"),
    "NaN": (b'{"version": NaN}', "version: is NaN, which is not JSON; write a number"),
    "NaN alone": (b"NaN", "the configuration: is NaN, which is not JSON"),
    "a number without end": (b'{"version": ' + b"9" * 5000 + b"}", "5000 digits"),
    "an infinite number": (b'{"version": 1e999}', "too large"),
    "nested without end": (deep(100_000).encode(), "nested too deeply"),
    "half a surrogate pair": (b'{"version": 1, "x\\ud800": 1}', "half of a surrogate pair"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_refused_with_the_place_in_it(
    name: str, generator: Command, tmp_path: Path
) -> None:
    data, what = FILES[name]
    path = tmp_path / "config.json"
    path.write_bytes(data)
    done = generator("validate", path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert what in done.stderr
    assert str(path) in done.stderr


def test_a_missing_file_is_named(generator: Command, tmp_path: Path) -> None:
    done = generator("validate", tmp_path / "nowhere.json")
    assert done.returncode == 1
    assert "nowhere.json: no such file" in done.stderr


def test_a_directory_is_refused(generator: Command, tmp_path: Path) -> None:
    done = generator("validate", tmp_path)
    assert done.returncode == 1
    assert "is a directory" in done.stderr


def test_an_unreadable_file_is_refused(generator: Command, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    path.chmod(0)
    if os.geteuid() == 0:
        # Root reads everything; a file below a file can't be opened by anyone.
        path = path / "config.json"
    done = generator("validate", path)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_all_that_is_doubtful_is_named_at_once_and_with_all_else(
    generator: Command, tmp_path: Path
) -> None:
    """In the first of two values too, which Python's json forgets."""
    path = tmp_path / "config.json"
    path.write_text(
        """{"version": 1, "version": 2, "x": 1, "vllm": {"enable": true, "uid": NaN,
        "subUidStart": 1e999, "tag": "v1", "devices": ["a", -Infinity], "models": {
        "a": {"model": "m/m", "port": 1, "port": 2, "port": "3"}, "b c": {"x": 1, "x": 1},
        "b c": {"port": 18001, "model": "m/m", "settings": {"y": NaN}}}}}"""
    )
    done = generator("validate", path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "  vllm.devices[1]: is -Infinity, which is not JSON; write a number",
        '  vllm.models."b c": is there more than once; keep one',
        '  vllm.models."b c".settings.y: is NaN, which is not JSON; write a number',
        '  vllm.models."b c".x: is there more than once; keep one',
        "  vllm.models.a.port: is there more than once; keep one",
        "  vllm.subUidStart: is 1e999, which is too large; write a smaller number",
        "  vllm.uid: is NaN, which is not JSON; write a number",
        "  version: is there more than once; keep one",
        "  x: is not an option; remove it",
    ]
