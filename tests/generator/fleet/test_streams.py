"""How `eval` reads what nix-eval-jobs writes, and how it ends it. Both programs are scripts."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.fleet.hosts import Failed
from llmhop_generator.fleet.nix import nix_string

from tests.generator.conftest import MINIMAL, Command

Programs = Callable[..., None]


def job(host: str, **changes: Any) -> str:
    """Give a line with the keys that nix-eval-jobs writes (to_json in its src/drv.cc)."""
    line = {
        "attr": host,
        "attrPath": [host],
        "drvPath": "/nix/store/00000000000000000000000000000000-llmhop-host.drv",
        "extraValue": {"contract": MINIMAL, "address": host},
        "name": "llmhop-host",
        "outputs": {"out": None},
        "system": "x86_64-linux",
    }
    return json.dumps(line | changes) + "\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Put on the path a nix that names the hosts a and b, and a nix-eval-jobs as given."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def write(lines: str, *, first: str = "", then: str = "") -> None:
        printed = tmp_path / "lines"
        printed.write_text(lines, encoding="utf-8")
        jobs = f"{first}\ncat {printed}\n{then}"
        for name, script in (("nix", 'echo \'["a", "b"]\''), ("nix-eval-jobs", jobs)):
            (directory / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (directory / name).chmod(0o755)

    return write


def test_a_line_may_have_10_mb(programs: Programs, generator: Command) -> None:
    models = {"m": {"model": "org/" + "x" * 10_000_000, "port": 18001}}
    contract = {**MINIMAL, "vllm": {**MINIMAL["vllm"], "models": models}}
    programs(job("a") + job("b", extraValue={"contract": contract, "address": "b"}))

    done = generator("eval", "flake")

    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert [host["host"] for host in read] == ["a", "b"]
    assert read[1]["contract"] == contract


def test_a_host_is_printed_before_the_next_is_evaluated(programs: Programs, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    programs(job("a"), then=f"cat {gate}")
    with eval_process() as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        gate.write_text(job("b"), encoding="utf-8")
        rest = process.stdout.read()
        assert process.wait() == 0
    assert json.loads(first)["host"] == "a"
    assert json.loads(rest)["host"] == "b"


def test_a_terminal_shows_how_far_it_is(programs: Programs) -> None:
    programs(job("a") + job("b"))
    ours, terminal = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        command = [sys.executable, "-m", "llmhop_generator", "eval", "flake"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, check=True)
        os.close(terminal)
        shown = screen.read(1 << 16).decode()
    assert len(done.stdout.splitlines()) == 2
    assert all(f"{number} of 2 hosts" in shown for number in (0, 1, 2))


def test_many_messages_hold_up_no_line_and_are_passed_on(
    programs: Programs, generator: Command
) -> None:
    programs(job("a") + job("b"), first="yes 'warning: from Nix' | head -n 100000 >&2")

    done = generator("eval", "flake")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr.count("warning: from Nix\n") == 100_000


def test_an_error_line_fails_its_host_though_the_exit_code_is_0(
    programs: Programs, generator: Command
) -> None:
    error = (
        "error:\n       … while evaluating\n       error: attribute 'x' missing\n\n       at /f:1"
    )
    broken = json.dumps({"attr": "b", "attrPath": ["b"], "error": error}) + "\n"
    programs(job("a") + broken)

    done = generator("eval", "flake")

    assert done.returncode == 1
    assert "b failed: attribute 'x' missing\n" in done.stderr
    assert json.loads(done.stdout.splitlines()[1]) == {"host": "b", "error": error}


@pytest.mark.parametrize("lines", ["", job("a"), job("a") + job("b")[:-5]])
def test_hosts_without_a_line_are_named_when_nix_eval_jobs_ends_early(
    lines: str, programs: Programs, generator: Command
) -> None:
    programs(lines, then="exit 1")

    done = generator("eval", "flake")

    read = {host["host"]: host for host in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert read.keys() == {"a", "b"}
    assert "ended with exit code 1" in read["b"]["error"]


@pytest.mark.parametrize(
    "line",
    ["no JSON", "[]", '{"attrPath": ["a"]}', '{"attrPath": ["a"], "extraValue": {"x": 1}}'],
)
def test_a_line_that_is_not_understood_is_one_clear_error(
    line: str, programs: Programs, generator: Command
) -> None:
    programs(line + "\n")

    done = generator("eval", "flake")

    assert done.returncode == 1
    assert f"error: nix-eval-jobs wrote a line that is not understood: {line}" in done.stderr
    assert "Traceback" not in done.stderr


def eval_process() -> "subprocess.Popen[str]":
    # A shell starts what it runs in the background with SIGINT ignored.
    command = ["env", "--default-signal", sys.executable, "-m", "llmhop_generator", "eval", "flake"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_to_the_command_ends_nix_eval_jobs(
    name: str, code: int, programs: Programs, tmp_path: Path
) -> None:
    programs(job("a"), first=f"echo $$ >{tmp_path}/pid", then="exec sleep 600")
    with eval_process() as process:
        assert process.stdout is not None
        process.stdout.readline()

        process.send_signal(getattr(signal, name))

        assert process.wait() == code
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_nix_that_is_missing_is_one_clear_error(
    generator: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    done = generator("eval", "flake")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: nix can't be run: ")


@pytest.mark.parametrize(
    "arguments",
    [
        [".#nixosConfigurations"],
        [""],
        [".", "--report", "--front"],
        [".", "--compare", "HEAD", "--front"],
        [".", "--address", "a=http://a"],
        [".", "--front", "--address", "a"],
        [".", "--workers", "0"],
    ],
)
def test_wrong_usage_has_exit_code_2(arguments: list[str], generator: Command) -> None:
    assert generator("eval", *arguments).returncode == 2


@pytest.mark.parametrize(
    ("text", "spelled"),
    [("a.b", '"a.b"'), ('say "x"', '"say \\"x\\""'), ("${x}", '"\\${x}"'), ("\\", '"\\\\"')],
)
def test_a_hosts_name_is_spelled_as_a_string_of_nix(text: str, spelled: str) -> None:
    assert nix_string(text) == spelled


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("error: boom", "boom"),
        ("error:\n  … while\n  error: x is missing\n\n  at /f:1:2:", "x is missing"),
        ("warning: dirty\nerror: boom\n(use '--show-trace')", "boom"),
        ("a: is wrong\nb: is wrong", "a: is wrong; b: is wrong"),
    ],
)
def test_the_cause_is_the_last_error_that_nix_names(error: str, cause: str) -> None:
    assert Failed("host", error).cause == cause
