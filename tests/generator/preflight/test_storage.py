"""On which file system a path lies, as findmnt tells."""

from pathlib import Path

import pytest
from llmhop_generator.preflight.storage import _file_system


@pytest.mark.parametrize(("path", "kind"), [("/proc/self", "proc"), ("/sys/kernel", "sysfs")])
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert _file_system(path) == kind


@pytest.mark.parametrize("name", ["plain", "with space", "back\\slash", "tab\t", "-x", "ö"])
def test_a_path_of_any_name_is_found_and_what_a_link_leads_to(name: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    directory.mkdir()
    assert _file_system(str(directory)) == _file_system(str(tmp_path)) != ""
    link = tmp_path / "link"
    link.symlink_to("/proc/self")
    assert _file_system(f"{link}/") == "proc"
