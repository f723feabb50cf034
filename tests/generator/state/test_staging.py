"""A set of units, written beside the present one and put in its place."""

import subprocess
import sys
from pathlib import Path

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.layout import HEADER
from llmhop_generator.render.quadlet import container_line
from llmhop_generator.render.unit_reader import environment_files_of
from llmhop_generator.state.environment import digests, keep_key, read_key
from llmhop_generator.state.staging import discard, stage, staged_dir, swap

from tests.generator.support.private_host import why_not

A, B, C = "vllm-a.container", "vllm-b.container", "vllm-c.container"
FOREIGN = "mine.container"


def unit(text: str) -> str:
    return f"# {HEADER}\n{text}\n"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A directory with two units of ours and one of somebody else's."""
    directory = tmp_path / "503"
    directory.mkdir()
    for name, text in {A: unit("a"), B: unit("b"), FOREIGN: "theirs\n"}.items():
        (directory / name).write_text(text)
    return directory


def texts(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir() if path.is_file()}


CHANGED = {A: unit("a"), C: unit("c"), FOREIGN: "theirs\n"}


def test_until_the_swap_nothing_is_seen_and_then_all(units: Path) -> None:
    before = texts(units)
    stage(units, [B], {C: unit("c")})
    assert texts(units) == before
    swap(units)
    assert texts(units) == CHANGED
    assert not staged_dir(units).exists()
    assert units.stat().st_mode & 0o777 == 0o755


def test_a_directory_of_somebody_elses_stays_and_files_are_replaced_one_by_one(
    units: Path,
) -> None:
    (units / "vllm-a.container.d").mkdir()
    (units / "vllm-a.container.d/more.conf").write_text("theirs\n")
    inode, of_a = units.stat().st_ino, (units / A).stat().st_ino
    stage(units, [B], {C: unit("c")})
    swap(units)
    assert texts(units) == CHANGED
    assert (units / A).stat().st_ino == of_a  # which is as it was
    assert (units / "vllm-a.container.d/more.conf").read_text() == "theirs\n"
    assert units.stat().st_ino == inode


def test_a_link_to_the_directory_stays_a_link(units: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(units)
    stage(link, [B], {C: unit("c")})
    swap(link)
    assert link.is_symlink()
    assert texts(link) == CHANGED


def test_what_an_earlier_run_left_is_no_part_of_the_next_set(units: Path) -> None:
    stage(units, [], {"vllm-left.container": unit("left")})
    stage(units, [B], {C: unit("c")})
    swap(units)
    assert texts(units) == CHANGED


def test_a_file_that_was_half_written_goes_also_where_nothing_is_staged(units: Path) -> None:
    """As where a unit was put in its place, and the disk failed under the next one."""
    for name in (".vllm-a.container.abcd_123", ".mine.container.abcd_123"):
        (units / name).touch()
    discard(units)
    assert texts(units).keys() == {A, B, FOREIGN, ".mine.container.abcd_123"}


def test_what_can_not_be_written_leaves_nothing(units: Path) -> None:
    before = texts(units)
    with pytest.raises(GeneratorError, match="can't be written"):
        stage(units, [], {"x" * 300: unit("too long a name")})
    assert texts(units) == before
    assert not staged_dir(units).exists()
    discard(units)


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "environment.key"
    monkeypatch.setattr("llmhop_generator.state.environment.ENVIRONMENT_KEY", path)
    return path


@pytest.mark.usefixtures("key_file")
def test_a_digest_tells_of_another_content_and_not_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a file.env"
    source = "=".join(container_line("EnvironmentFile", str(file)))
    file.write_text("TOKEN=one\n")
    first, second = read_key(), read_key()
    one = digests({A: source, B: ""}, first)
    assert set(one) == {A}
    assert digests({A: source}, first) == one
    assert digests({A: source}, second) != one, "each host has a key of its own"
    file.write_text("TOKEN=two\n")
    two = digests({A: source}, first)
    assert two != one
    file.unlink()
    assert digests({A: source}, first) not in (one, two)


def test_the_key_is_kept_for_root_alone_and_a_damaged_one_is_made_anew(key_file: Path) -> None:
    key = read_key()
    keep_key(key)
    assert read_key() == key
    assert key_file.stat().st_mode & 0o777 == 0o600
    key_file.write_text("damaged")
    assert read_key() != key
    assert len(read_key()) == 32


@pytest.mark.parametrize(
    "path", ["/etc/vllm/.env", "/srv/a b", '/srv/"q"', "/srv/100%$x", "/srv/tab\t\\back", "/srv/é"]
)
def test_a_path_is_read_back_as_it_was_written(path: str) -> None:
    line = "=".join(container_line("EnvironmentFile", path))
    assert environment_files_of(line) == (path,)


_RUN = """
import sys
from pathlib import Path
from llmhop_generator.errors import GeneratorError
from llmhop_generator.state.staging import stage, staged_dir, swap
directory, text = Path(sys.argv[1]), "# " + sys.argv[2] + "\\n" + "x" * 20000 + "\\n"
try:
    stage(directory, ["vllm-b.container"], {"vllm-c.container": text})
except GeneratorError as error:
    sys.exit(f"refused: {error}; left: {staged_dir(directory).exists()}")
swap(directory)
print(*sorted(path.name for path in directory.iterdir()))
"""


def staged_on(directory: Path, mount: str) -> subprocess.CompletedProcess[str]:
    """Stage and swap in a mount namespace, after a command there has mounted something."""
    own = ["unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", f'{mount} && "$@"']
    words = [*own, "sh", sys.executable, "-c", _RUN, str(directory), HEADER]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("mount", "why"),
    [
        ("mount --bind {0} {0} && mount -o remount,bind,ro {0}", "Read-only file system"),
        ("mount -t tmpfs -o size=8k small {0}", "No space left on device"),
    ],
)
@pytest.mark.parametrize("place", [".", "llmhop", "llmhop/new"])
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_a_mount_of_its_own_that_takes_no_units_is_told_before_the_swap(
    mount: str, why: str, place: str, units: Path
) -> None:
    (units / "llmhop").mkdir()
    before = texts(units)
    done = staged_on(units / place, mount.format(units))
    assert why in done.stderr, done
    assert f"{units}" in done.stderr
    assert "left: False" in done.stderr
    assert texts(units) == before


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_units_on_a_mount_of_their_own_are_replaced_file_by_file(units: Path) -> None:
    done = staged_on(units, f"mount --bind {units} {units}")
    assert done.stdout.split() == [FOREIGN, A, C], done
