"""An llmhop that does not run by the file that `apply` writes: seen, told and mended."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from llmhop_generator.apply import run as apply
from llmhop_generator.apply.fast_path import is_up_to_date, remember
from llmhop_generator.host import lock
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.parse.load import parse_config
from llmhop_generator.planning.plan_text import lines
from llmhop_generator.preflight.router.service import service_findings
from llmhop_generator.state.router_command import foreign_command, foreign_file_read
from llmhop_generator.status.report import remarks, status

from tests.generator.conftest import MINIMAL
from tests.generator.support.simulated_host import SimulatedHost

DATA = json.dumps({**MINIMAL, "vllm": {**MINIMAL["vllm"], "openFilesLimit": 64}}).encode()

Start = Callable[..., UnitState]


@pytest.fixture
def host(simulated: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> SimulatedHost:
    """A host on which a configuration was applied."""
    monkeypatch.setattr("llmhop_generator.preflight.router.service.router_group", lambda: 1)
    apply_again()
    return simulated


def apply_again() -> None:
    done = apply.apply(parse_config(DATA, "config.json"), print, print, wait=True)
    remember(DATA, done.wanted)
    assert is_up_to_date(DATA)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process with these words on its command line, and say what a manager says of it."""
    running = []

    def begin(*words: object, cwd: Path = tmp_path) -> UnitState:
        command = [sys.executable, "-c", "print(flush=True); input()", *map(str, words)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=cwd)
        running.append(process)
        assert process.stdout is not None
        process.stdout.readline()  # while it is yet to begin, it has no command line
        return UnitState.parse(f"LoadState=loaded\nMainPID={process.pid}")

    yield begin
    for process in running:
        process.communicate(b"\n")


def test_a_process_that_has_read_another_file_is_restarted(
    host: SimulatedHost, start: Start
) -> None:
    host.router_command = ["llmhop", "--config", str(host.router_config)]
    host.router_pid = start("--config", "/srv/other.json").main_pid
    assert not is_up_to_date(DATA)
    told = f"llmhop runs by /srv/other.json, not by {host.router_config}; apply again"
    assert told in remarks(status())
    assert not [*service_findings()]
    planned = lines(apply.plan_for(parse_config(DATA, "config.json")))
    assert planned == [("route", "llmhop", "start or reload it")]
    apply_again()
    assert host.router_pid == 0, "it was reloaded, which reads the other file again"
    assert status().llmhop.foreign_config is None


def test_what_a_run_at_work_is_about_to_restart_is_not_told(
    host: SimulatedHost, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host.router_command = ["llmhop", "--config", str(host.router_config)]
    host.router_pid = start("--config", "/srv/other.json").main_pid
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock")
    with lock.locked(0, print):
        assert status().llmhop.foreign_config is None
        host.router_command = ["llmhop", "--config", "/srv/other.json"]
        assert status().llmhop.foreign_config is not None


@pytest.mark.parametrize("words", [["--config", "/srv/other.json"], ["--config=/srv/other.json"]])
def test_a_unit_that_names_another_file_is_a_finding(words: list[str], host: SimulatedHost) -> None:
    host.router_command = ["llmhop", *words]
    assert not is_up_to_date(DATA)
    told = f"llmhop.service starts llmhop by /srv/other.json, not by {host.router_config}, which"
    [finding] = service_findings()
    assert finding.what.startswith(told)
    assert finding.what in remarks(status())


def test_where_llmhop_is_not_given_a_configuration_its_unit_is_somebody_elses(
    host: SimulatedHost,
) -> None:
    host.router_command = ["llmhop", "--config", "/srv/other.json"]
    host.router_config.unlink()
    assert status().llmhop.foreign_config is None


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["--config", "/srv/other.json"], "/srv/other.json"),
        (["--config=/srv/other.json"], "/srv/other.json"),
        (["--config", "{ours}", "--config", "/srv/other.json"], "/srv/other.json"),
        (["--config", "other.json"], "{cwd}/other.json"),
        (["--config", "{ours}"], None),
        (["--config", "/srv/other.json", "--config={ours}"], None),
        (["--config", "link"], None),
        (["--config", "/srv/other.json", "--config"], None),
        (["\udcff", "--config", "/srv/other.json"], "/srv/other.json"),
        (["--config"], None),
        ([], None),
    ],
)
def test_the_file_of_a_process_is_read_from_its_command_line(
    words: list[str], read: str | None, host: SimulatedHost, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(host.router_config)
    names = {"ours": host.router_config, "cwd": tmp_path}
    state = start(*(word.format(**names) for word in words))
    assert foreign_file_read(state) == (read and read.format(**names))


@pytest.mark.parametrize("words", [[], ["/opt/around-llmhop"], ["llmhop", "--config", "${FILE}"]])
def test_where_a_unit_does_not_tell_its_process_does(
    words: list[str], host: SimulatedHost, start: Start
) -> None:
    host.router_command = words
    assert foreign_command(UnitState.parse("")) is None
    assert foreign_command(start("--config", host.router_config)) is None
    told = foreign_command(start("--config", "/srv/other.json"))
    assert told is not None
    assert "by /srv/other.json, not by" in told
